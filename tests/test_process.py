"""Loggers and the life of their process: forks, children, signals, exits, copies, and loggers that nobody holds."""

from __future__ import annotations

import atexit
import contextlib
import copy
import gc
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis import process
from streamvis.client import Client
from streamvis.delivery import Delivery, SpoolOptions
from streamvis.errors import StateError
from streamvis.heartbeat import End
from streamvis.logger import AsyncDataLogger, DataLogger
from streamvis.plugins import Plugins
from streamvis.push import push
from streamvis.records import Batch
from streamvis.server.run import ServerThread, serving
from streamvis.storage.memory import MemoryStore

pytestmark = pytest.mark.timeout(300)  # programs that load torch, some of them in each child

WAIT = 60.0

Wait = Callable[..., None]
Make = Callable[..., DataLogger]


@pytest.fixture(name="server")
def _server() -> Iterator[ServerThread]:
    with serving() as server:
        yield server


@pytest.fixture(name="make")
def _make(tmp_path: Path, server: ServerThread) -> Make:
    def make(scope: str = "run", **options: Any) -> DataLogger:
        return DataLogger(scope, server.uri, **{"spool_dir": tmp_path / "spool", "flush_every": 0.05, **options})

    return make


def stored(uri: str, name: str = "loss") -> list[Any]:
    """The column x of a name."""
    with Client(uri) as client:
        series = client.fetch("run", name).get(("run", name, 0))
    return [] if series is None else list(series["x"].tolist())


def status_of(uri: str) -> str:
    with Client(uri) as client:
        return {run.scope: run.status for run in client.runs()}["run"]


class Program:
    """A script and how it ended: code, out and err. It gets the server's address and a spool as arguments."""

    def __init__(self, tmp_path: Path, text: str, *arguments: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(text)
        self._process = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.code = 0
        self.out = self.err = ""

    def ready(self) -> None:
        """Returns when it has printed a line."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def complains(self) -> None:
        """Returns when it has begun to say what ended it."""
        assert self._process.stderr is not None
        assert self._process.stderr.readline().startswith("Traceback")

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, timeout: float = 280) -> Program:
        """Returns when it has ended."""
        self.out, self.err = self._process.communicate(timeout=timeout)
        self.code = self._process.returncode
        return self

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(name="start")
def _start(tmp_path: Path, server: ServerThread) -> Iterator[Callable[..., Program]]:
    """Starts a program that logs to the server, or to the address given."""
    programs: list[Program] = []

    def start(text: str, uri: str | None = None) -> Program:
        programs.append(Program(tmp_path, text, uri or server.uri, str(tmp_path / "spool")))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@contextlib.contextmanager
def deaf_server() -> Iterator[str]:
    """The address of one that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        yield f"127.0.0.1:{deaf.getsockname()[1]}"


# ---- forks


def test_a_forked_child_does_nothing_and_says_so(start: Callable[..., Program], server: ServerThread) -> None:
    """It neither crashes, hangs nor sends; the parent goes on."""
    done = start("""
import os, sys, streamvis
with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2]) as logger:
    logger.write("loss", x=1)
    child = os.fork()
    if child == 0:
        logger.write("loss", x=100)
        logger.write_config({"lr": 1})
        logger.flush()
        logger.stop()
        assert logger.stats()["sinks"] == {}
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    logger.write("loss", x=2)
""").end()
    assert done.code == 0
    assert done.err.count("does nothing in the forked child") == 1
    assert stored(server.uri) == [1, 2]
    assert status_of(server.uri) == "finished"


def test_children_that_log_nothing_are_no_matter(start: Callable[..., Program], server: ServerThread) -> None:
    """Workers of data loaders are forked at every epoch: neither the logger nor gRPC says anything."""
    done = start("""
import multiprocessing, sys, streamvis
with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], flush_every=0.01) as logger:
    for step in range(5):
        logger.write("loss", x=step)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
""").end()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert stored(server.uri) == [0, 1, 2, 3, 4]


def test_a_forked_child_may_start_a_logger_of_its_own(start: Callable[..., Program], server: ServerThread) -> None:
    """While the parent's goes on; the child need not stop it, nor say that gRPC was loaded before the fork."""
    done = start("""
import multiprocessing, os, sys, streamvis
def work(child):
    logger = streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], flush_every=3600).start()
    for step in range(3):
        logger.write(f"child{child}", x=step)
    if child == 1:
        logger.flush()
        assert logger.stats()["outstanding"] == 0
with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], flush_every=0.01) as logger:
    logger.write("loss", x=1)
    logger.flush()
    children = [multiprocessing.get_context("fork").Process(target=work, args=(child,)) for child in (1, 2)]
    pid = os.fork()
    if pid == 0:
        work(3)
        sys.exit(0)
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert os.waitpid(pid, 0)[1] == 0
    logger.write("loss", x=2)
""").end()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert stored(server.uri) == [1, 2]
    assert [stored(server.uri, f"child{child}") for child in (1, 2, 3)] == [[0, 1, 2]] * 3


# ---- data loaders and other children


LOADER = """
import sys, torch, streamvis
class Data(torch.utils.data.Dataset):
    logger = None
    def __len__(self):
        return 8
    def __getitem__(self, place):
        if self.logger is None:
            self.logger = streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], flush_every=3600).start()
        self.logger.write("item", x=place)
        return torch.tensor(place)
def main(method, inherit):
    with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], delete_existing=True) as logger:
        logger.write("item", x=100)
        logger.flush()
        data = Data()
        if inherit:
            data.logger = logger
        loader = torch.utils.data.DataLoader(data, num_workers=2, multiprocessing_context=method)
        for epoch in range(2):
            assert [int(item) for item in loader] == list(range(8))
        logger.write("item", x=200)
"""


@pytest.mark.slow
def test_forked_workers_of_a_data_loader_may_log(start: Callable[..., Program], server: ServerThread) -> None:
    """Each starts its own logger when it first needs it, and forgets to stop it."""
    done = start(f"{LOADER}\nif __name__ == '__main__': main('fork', False)").end()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert sorted(stored(server.uri, "item")) == sorted([100, *range(8), *range(8), 200])


@pytest.mark.slow
def test_a_data_set_takes_its_logger_to_spawned_workers(start: Callable[..., Program], server: ServerThread) -> None:
    """As copies that log to the same scope, and replace nothing of what is there."""
    done = start(f"{LOADER}\nif __name__ == '__main__': main('spawn', True)").end()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert sorted(stored(server.uri, "item")) == sorted([100, *range(8), *range(8), 200])


@pytest.mark.slow
def test_a_data_set_takes_no_logger_to_forked_workers(start: Callable[..., Program], server: ServerThread) -> None:
    """Each worker says once that it logs nothing."""
    done = start(f"{LOADER}\nif __name__ == '__main__': main('fork', True)").end()
    assert (done.code, done.out) == (0, "")
    assert len(done.err.splitlines()) == done.err.count("does nothing in the forked child") == 4
    assert stored(server.uri, "item") == [100, 200]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_logger_may_be_an_argument_of_a_process(
    start: Callable[..., Program], server: ServerThread, method: str
) -> None:
    """It logs there without a start and without a stop, to the same scope; an error there is a crash of that writer."""
    done = start(f"""
import multiprocessing, sys, streamvis
def work(logger, child):
    logger.write(f"child{{child}}", x=child)
    logger.write("loss", x=child)
    if child == 3:
        1 / 0
if __name__ == "__main__":
    with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], delete_existing=True) as logger:
        logger.write("loss", x=0)
        logger.flush()
        context = multiprocessing.get_context({method!r})
        for child in (1, 2, 3):
            process = context.Process(target=work, args=(logger, child))
            process.start()
            process.join()
            assert process.exitcode == (child == 3)
        logger.write("loss", x=4)
""").end()
    assert (done.code, done.err.count("ZeroDivisionError")) == (0, 1), done.err
    assert stored(server.uri) == [0, 1, 2, 3, 4]
    assert [stored(server.uri, f"child{child}") for child in (1, 2, 3)] == [[1], [2], [3]]


# ---- SIGTERM


TERMINATED = """
import signal, sys, threading, time, streamvis
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells take from what they run in the background
def start(**options):
    logger = streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2], flush_every=3600, **options).start()
    for step in range(3):
        logger.write("loss", x=step)
    return logger
def wait(condition=lambda: False):
    print("ready", flush=True)
    while not condition():
        time.sleep(0.01)
"""


def test_sigterm_flushes_and_the_program_dies_of_it(start: Callable[..., Program], server: ServerThread) -> None:
    """Whoever started it sees the signal as the reason; the run has crashed."""
    program = start(f"{TERMINATED}\nlogger = start()\nwait()")
    program.ready()
    program.send(signal.SIGTERM)
    done = program.end()
    assert (done.code, done.out, done.err) == (-signal.SIGTERM, "", "")
    assert stored(server.uri) == [0, 1, 2]
    assert status_of(server.uri) == "crashed"


def test_sigterm_waits_no_longer_than_stop_takes(
    start: Callable[..., Program], server: ServerThread, tmp_path: Path
) -> None:
    """With a server that never answers the points are spooled by then."""
    text = f"{TERMINATED}\nloggers = [start(stop_timeout=5) for _ in range(4)]\nwait()"
    with deaf_server() as uri:
        program = start(text, uri)
        program.ready()
        program.send(signal.SIGTERM)
        done = program.end()
        assert done.code == -signal.SIGTERM
    assert done.err.count("`streamvis push ") == 4
    push(tmp_path / "spool", server.uri)
    assert sorted(stored(server.uri)) == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_several_loggers_end_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are asked before any is awaited, so that together they take no longer than one."""
    monkeypatch.delattr(sys, "last_value", raising=False)  # of a test that failed
    calls: list[str] = []

    class Member:
        def ask(self, end: End) -> None:
            calls.append(f"ask {end}")

        def wait(self) -> None:
            calls.append("wait")

        def hurry(self) -> None:
            calls.append("hurry")

        def disown(self) -> None:
            calls.append("disown")

    members = [Member(), Member()]
    here = process.Process()
    for member in members:
        here.enter(member)
    here.end()
    assert calls == ["ask finished", "ask finished", "wait", "wait"]
    for member in members:
        here.leave(member)
    atexit.unregister(here.end)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_handler_of_the_user_decides(start: Callable[..., Program], server: ServerThread, when: str) -> None:
    """The program goes on as it would without a logger, also when the handler calls the one that it replaced."""
    install = """
asked = []
def handle(number, frame):
    asked.append(number)
    if callable(before):
        before(number, frame)
before = signal.signal(signal.SIGTERM, handle)
"""
    first, second = (install, "logger = start()") if when == "before" else ("logger = start()", install)
    program = start(f"{TERMINATED}\n{first}\n{second}\nwait(lambda: asked)\nlogger.write('loss', x=3)")
    program.ready()
    program.send(signal.SIGTERM)
    done = program.end()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert stored(server.uri) == [0, 1, 2, 3]
    assert status_of(server.uri) == "finished"


def test_the_first_process_of_a_container_goes_on(start: Callable[..., Program], server: ServerThread) -> None:
    """It does not die of SIGTERM unless it handles it; so nor does its logger end."""
    text = "import os\nos.getpid = lambda: 1\nlogger = start()\nprint('ready', flush=True)"
    program = start(f"{TERMINATED}\n{text}\nsys.stdin.read()\nlogger.write('loss', x=3)")
    program.ready()
    program.send(signal.SIGTERM)
    done = program.end()
    assert (done.code, done.out, done.err) == (0, "", "")
    assert stored(server.uri) == [0, 1, 2, 3]


def test_a_handler_in_native_code_stays(start: Callable[..., Program], server: ServerThread) -> None:
    """Python does not know of it: jax has such a one, and workers of torch's data loaders."""
    text = "import faulthandler\nfaulthandler.register(signal.SIGTERM)\nlogger = start()\nprint('ready', flush=True)"
    program = start(f"{TERMINATED}\n{text}\nsys.stdin.read()\nlogger.write('loss', x=3)")
    program.ready()
    program.send(signal.SIGTERM)
    done = program.end()
    assert (done.code, "most recent call first" in done.err) == (0, True)
    assert stored(server.uri) == [0, 1, 2, 3]


def test_a_logger_of_another_thread_handles_no_signals(start: Callable[..., Program]) -> None:
    """Only the main thread may."""
    program = start(f"{TERMINATED}\nthread = threading.Thread(target=start)\nthread.start()\nthread.join()\nwait()")
    program.ready()
    program.send(signal.SIGTERM)
    assert (program.end().code, program.err) == (-signal.SIGTERM, "")


def test_no_handler_stays_behind(start: Callable[..., Program]) -> None:
    """When the last logger stops SIGTERM is what it was."""
    done = start("""
import signal, sys, streamvis
def is_default():
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
seen = [is_default()]
with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2]):
    with streamvis.DataLogger("other", sys.argv[1], spool_dir=sys.argv[2]):
        seen.append(is_default())
    seen.append(is_default())
print(*seen, is_default())
""").end()
    assert (done.code, done.out, done.err) == (0, "True False False True\n", "")


def test_a_forked_child_dies_of_sigterm_at_once(start: Callable[..., Program], server: ServerThread) -> None:
    """It has nothing to flush; the parent goes on."""
    done = start("""
import multiprocessing, signal, sys, time, streamvis
with streamvis.DataLogger("run", sys.argv[1], spool_dir=sys.argv[2]) as logger:
    logger.write("loss", x=1)
    process = multiprocessing.get_context("fork").Process(target=lambda: print(signal.getsignal(signal.SIGTERM).name))
    process.start()
    process.join()
""").end()
    assert (done.code, done.out, done.err) == (0, "SIG_DFL\n", "")
    assert stored(server.uri) == [1]


# ---- exits


def test_ctrl_c_loses_nothing(start: Callable[..., Program], server: ServerThread) -> None:
    """Neither inside `with` nor without; the program dies of it as every Python program does."""
    program = start(f"{TERMINATED}\nwith start() as logger:\n    wait()")
    program.ready()
    program.send(signal.SIGINT)
    done = program.end()
    assert (done.code, "KeyboardInterrupt" in done.err) == (-signal.SIGINT, True)
    assert stored(server.uri) == [0, 1, 2]
    assert status_of(server.uri) == "finished"


def test_ctrl_c_during_a_stop_loses_nothing(start: Callable[..., Program]) -> None:
    """What the stop was waiting for is awaited when the program exits."""
    gate = threading.Event()

    class Slow(MemoryStore):
        def append(self, *arguments: Any) -> Any:
            gate.wait(60)
            return super().append(*arguments)

    with serving(open_store=lambda _: Slow()) as server:
        stop = "logger = start(stop_timeout=60)\nprint('ready', flush=True)\nlogger.stop()"
        program = start(f"{TERMINATED}\n{stop}", server.uri)
        program.ready()
        program.send(signal.SIGINT)
        program.complains()
        gate.set()
        assert program.end().code == -signal.SIGINT
        assert stored(server.uri) == [0, 1, 2]


def test_an_exception_inside_with_loses_nothing(make: Make, server: ServerThread) -> None:
    """The logger is stopped, the exception goes on."""

    def train() -> None:
        with make(flush_every=3600) as logger:
            logger.write("loss", x=1)
            logger.write("loss", x=2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    assert stored(server.uri) == [1, 2]
    assert status_of(server.uri) == "crashed"


FORGETFUL = """
import atexit, sys, streamvis
logger = streamvis.DataLogger('run', sys.argv[1], spool_dir=sys.argv[2], flush_every=3600).start()
for step in range(100): logger.write('loss', x=step)
"""


@pytest.mark.parametrize("away", [False, True])
def test_a_program_that_forgets_to_stop_loses_nothing(
    start: Callable[..., Program], server: ServerThread, tmp_path: Path, away: bool
) -> None:
    """Leaving the interpreter flushes, to the server or to the spool, also what its last exit handler writes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    uri = nobody if away else server.uri
    done = start(f"{FORGETFUL}\natexit.register(lambda: logger.write('loss', x=100))", uri).end()
    assert done.code == 0
    assert bool(re.search(f"`streamvis push {tmp_path}/spool/run-[0-9a-f]+ {uri}`", done.err)) == away
    assert (push(tmp_path / "spool", server.uri) if away else 0) == away
    assert stored(server.uri) == list(range(101))


def test_what_is_written_too_late_is_not_lost_silently(start: Callable[..., Program], server: ServerThread) -> None:
    """A handler that runs after the logger's own is told so."""
    done = start("""
import atexit, sys, streamvis
atexit.register(lambda: logger.write('loss', x=2))
logger = streamvis.DataLogger('run', sys.argv[1], spool_dir=sys.argv[2]).start()
logger.write('loss', x=1)
""").end()
    assert "StateError: logger of 'run' has been stopped" in done.err
    assert stored(server.uri) == [1]


def test_threads_that_write_while_it_stops_lose_nothing(make: Make, server: ServerThread) -> None:
    """Each write is stored or raises."""
    for _ in range(10):
        logger = make().start()
        written = [0] * 4

        def write(thread: int, logger: DataLogger = logger, written: list[int] = written) -> None:
            with contextlib.suppress(StateError):
                while True:
                    logger.write("loss", x=thread)
                    written[thread] += 1

        before = len(stored(server.uri))
        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        while not all(written):
            time.sleep(0)
        logger.stop()
        for thread in threads:
            thread.join()
        assert len(stored(server.uri)) - before == sum(written)


def test_a_writer_that_waits_for_room_is_told_of_the_end(
    server: ServerThread, tmp_path: Path, wait_until: Wait
) -> None:
    """It does not wait for ever for a server that never answers; what it had written is spooled."""
    told: list[StateError] = []
    written = []
    with deaf_server() as uri:
        logger = DataLogger(
            "run", uri, spool_dir=tmp_path / "spool", on_full="block", max_host_bytes=1 << 20, stop_timeout=0.3
        ).start()
        values = np.random.default_rng(0).random(20_000)

        def write() -> None:
            try:
                while True:
                    logger.write("loss", x=values)
                    written.append(len(values))
            except StateError as error:
                told.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        wait_until(lambda: logger._needs_room, WAIT)
        logger.stop()
        thread.join(WAIT)
        wait_until(lambda: logger._sender is None or logger._sender._ended.is_set(), WAIT)
    assert not thread.is_alive()
    assert "has been stopped" in str(told[0])
    push(tmp_path / "spool", server.uri)
    assert len(stored(server.uri)) == sum(written) > 0


def test_a_logger_that_cannot_start_says_so_and_can_be_started_later(
    make: Make, server: ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the system gives no more threads; it does not get in the way of the program's end."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    logger = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            logger.start()
    assert not process.this()._members
    with logger:
        logger.write("loss", x=1)
    assert stored(server.uri) == [1]


def test_a_plugin_that_hangs_at_the_end_does_not_hang_the_program(
    make: Make, server: ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop takes its time at most; the next one waits for the rest."""
    hang = threading.Event()
    notify = Plugins.notify

    def slow(self: Plugins, hook: str, **arguments: Any) -> None:
        if hook == "streamvis_run_finished":
            hang.wait(WAIT)
        notify(self, hook, **arguments)

    monkeypatch.setattr(Plugins, "notify", slow)
    logger = make(stop_timeout=0.2).start()
    logger.write("loss", x=1)
    logger.flush(WAIT)
    began = time.monotonic()
    logger.stop()
    took = time.monotonic() - began
    hang.set()
    logger.stop()
    assert took < WAIT
    assert stored(server.uri) == [1]


def test_when_no_thread_can_be_started_points_are_spooled(tmp_path: Path) -> None:
    """As while the interpreter shuts down: there is no connection then, and that is said."""

    def refuse(*_: object) -> Any:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    delivery = Delivery("run", refuse, SpoolOptions(tmp_path, 1 << 20, 1 << 20), lambda _: None)
    delivery.offer(Batch("", 0))
    delivery.pump(time.monotonic())
    assert (delivery.connected, delivery.safe, delivery.counts["retries"]) == (False, 1, 1)
    delivery.close()
    assert list(tmp_path.glob("*/*.seg"))


# ---- loggers that nobody holds


def test_a_logger_that_nobody_holds_any_more_ends(make: Make, server: ServerThread, wait_until: Wait) -> None:
    """As a cell of a notebook that runs again drops it: its points are stored, its thread ends, its run is finished."""
    before = threading.active_count()
    logger = make(flush_every=3600).start()
    for step in range(100):
        logger.write("loss", x=step)
    del logger
    gc.collect()
    wait_until(lambda: threading.active_count() == before, WAIT)
    assert stored(server.uri) == list(range(100))
    assert status_of(server.uri) == "finished"


def test_a_dropped_logger_is_awaited_at_the_end(start: Callable[..., Program], server: ServerThread) -> None:
    """The program ends a moment after it let go of it."""
    done = start(f"{FORGETFUL}\ndel logger").end()
    assert (done.code, done.err) == (0, "")
    assert stored(server.uri) == list(range(100))


# ---- copies


@pytest.mark.parametrize("duplicate", [lambda logger: pickle.loads(pickle.dumps(logger)), copy.deepcopy, copy.copy])
def test_a_copy_goes_on_with_the_same_scope(
    make: Make, server: ServerThread, duplicate: Callable[[DataLogger], DataLogger]
) -> None:
    """As a writer of its own, with the same options; it runs because the original does, and replaces nothing."""
    with make() as earlier:
        earlier.write("loss", x=0)
        earlier.write("kept", x=0)
    with make(delete_existing=True, stop_timeout=7) as logger:
        logger.write("loss", x=1)
        logger.flush(10)
        with duplicate(logger) as twin:
            twin.write("loss", x=2)
            twin.write("kept", x=1)
            twin.flush(10)
            logger.write("loss", x=3)
            logger.flush(10)
            assert (twin.scope, twin.grpc_uri, twin._options.stop_timeout) == ("run", server.uri, 7)
            assert twin.stats()["writes"] == 2
            assert twin._sender is not None
            assert logger._sender is not None
            assert twin._sender._delivery.spool_path != logger._sender._delivery.spool_path
        logger.write("loss", x=4)
    assert stored(server.uri) == [1, 2, 3, 4]
    assert stored(server.uri, "kept") == [0, 1]


def test_a_copy_of_one_that_does_not_run_can_be_started(make: Make, server: ServerThread) -> None:
    """Whether the original has not been started yet or was stopped."""
    logger = make()
    fresh = pickle.loads(pickle.dumps(logger))
    with pytest.raises(StateError, match="has not been started"):
        fresh.write("loss", x=1)
    logger.start().stop()
    for step, twin in enumerate((fresh, pickle.loads(pickle.dumps(logger)))):
        with twin:
            twin.write("loss", x=step)
    assert stored(server.uri) == [0, 1]


def test_a_subclass_keeps_what_it_added(make: Make) -> None:
    """And the asyncio logger is copied like the other."""
    logger = make()
    logger.__class__ = _Named
    logger.label = "mine"  # type: ignore[attr-defined]  # of the subclass
    twin = pickle.loads(pickle.dumps(logger))
    assert (type(twin), twin.label, twin.scope) == (_Named, "mine", "run")
    assert pickle.loads(pickle.dumps(AsyncDataLogger("run"))).scope == "run"


class _Named(DataLogger):
    label = ""
