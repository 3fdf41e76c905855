"""The background thread of a logger: flush, send, retry, spool, close. The first of the sinks.

It waits for one thing at a time — a write after a quiet interval, an answer, a deadline — then flushes what is due,
sends what the server can take, and tells those who wait. Everything but the queue of events belongs to this thread.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, TypeAlias, TypeVar

from streamvis import process
from streamvis.buffer import Buffer
from streamvis.codec import MAX_BLOCK_INDEXES, MAX_BLOCK_POINTS, MAX_UNFOLDED_BYTES, EncodedBlock, encode
from streamvis.columns import Block, split
from streamvis.delivery import Answer, Delivery, Lost, SpoolOptions
from streamvis.errors import BufferFullError, SpoolError, StreamvisError
from streamvis.heartbeat import End, Heartbeat
from streamvis.hookspecs import Sink
from streamvis.losses import Losses
from streamvis.records import Batch, Config, Declaration
from streamvis.refused import Refused
from streamvis.relay import open_link
from streamvis.sinks import Sinks

OnFull: TypeAlias = Literal["spool", "block", "raise"]

BATCH_BYTES = 1 << 20
FIRST_WRITE_DELAY = 0.005
"""Seconds from the first write after a quiet interval to its flush, so that a step's metrics travel together."""

SENDING_SHARE = 0.8
"""How much of `stop_timeout` the server gets; the rest is for the disk, if what is left has to go there."""

_REPORTED = ("writes", "points", "bytes", "flushes", "transfers", "retries", "spooled", "lag", "errors")

_T = TypeVar("_T")

_log = logging.getLogger("streamvis")


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """How a logger sends. Sizes in bytes, times in seconds. `replace`: the first batch of a name replaces its topic."""

    uri: str
    flush_every: float
    max_host_bytes: int
    max_device_bytes: int
    on_full: OnFull
    spool_dir: Path
    spool_max_bytes: int
    stop_timeout: float
    strict: bool
    replace: bool


class Life(Enum):
    """Where a sender is in its life, as a logger says it."""

    RUNNING = "runs"
    STOPPED = "has been stopped"
    FORKED = "belongs to the parent process"


@dataclass(slots=True, eq=False)
class _Ticket:
    """Someone waits until what was written before is safe. `target`: batches offered when all of it was flushed.

    `hears`: it is told what was refused or lost since the last that was; nobody else is, then.
    """

    hears: bool = True
    done: threading.Event = field(default_factory=threading.Event)
    target: int | None = None
    error: StreamvisError | None = None


@dataclass(frozen=True, slots=True)
class _Stop:
    deadline: float
    end: End


_Event: TypeAlias = _Ticket | _Stop | Answer | Lost | None


class Sender:
    """Sends what one logger's buffer collects. Its methods without underscore may be called from any thread."""

    def __init__(
        self,
        scope: str,
        buffer: Buffer,
        options: SenderOptions,
        sinks: Sequence[tuple[str, Sink]] = (),
        on_end: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`on_end` is called last, by the thread, with whether everything was delivered."""
        self.life = Life.RUNNING
        self.quiet = False
        self.full = False
        self._scope = scope
        self._buffer = buffer
        self._options = options
        self._on_end = on_end
        self._inherited: Sinks | None = None
        self._sinks = Sinks(sinks, options.max_host_bytes // 4)
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._configs: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamvis-sender", daemon=True)
        spool = SpoolOptions(options.spool_dir, options.spool_max_bytes, options.max_host_bytes // 4)
        self._delivery = Delivery(scope, functools.partial(open_link, options.uri), spool, self._events.put)
        self._counts: Counter[str] = Counter()
        self._losses = Losses(scope, Refused(options.spool_dir, scope, options.spool_max_bytes))
        self._said_failure = False
        self._replaced: set[int] = set()
        self._hurry = False
        self._next_flush: float | None = None
        self._tickets: list[_Ticket] = []
        self._stop: _Stop | None = None
        self._heartbeat = Heartbeat(scope, time.monotonic(), time.time())

    def start(self) -> None:
        """Starts the thread, which ends after `ask`, and at the latest with this process."""
        self._go_quiet()
        self._thread.start()
        process.this().enter(self)

    def wake(self) -> None:
        """Something was written after a quiet interval: flush it in a moment."""
        self.quiet = False
        self._events.put(None)

    def hurry(self) -> None:
        """The buffer grows large: flush now."""
        if not self._hurry:
            self._hurry = True
            self._events.put(None)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Takes a config to send with the next flush."""
        self._configs.put(values)
        self._events.put(None)

    def flush(self, timeout: float | None) -> bool:
        """Returns when everything written before is stored or spooled; False when the time was not enough.

        Raises RejectedError once for points that the server refused and, when strict, BufferFullError for lost ones.
        """
        return self._wait_for(_Ticket(), timeout)

    def make_room(self, timeout: float) -> bool:
        """As `flush`, but leaves what was refused or lost to the next one."""
        return self._wait_for(_Ticket(hears=False), timeout)

    def _wait_for(self, ticket: _Ticket, timeout: float | None) -> bool:
        self._events.put(ticket)
        if not ticket.done.wait(timeout):
            ticket.hears = False
        if ticket.error is not None:
            raise ticket.error
        return ticket.done.is_set()

    def ask(self, end: End = "finished") -> None:
        """Asks it to send what is left as far as the server takes it in time, to spool the rest and to end."""
        if self.life is Life.RUNNING:
            self.life, self._buffer.attention = Life.STOPPED, True
            self._events.put(_Stop(time.monotonic() + SENDING_SHARE * self._options.stop_timeout, end))

    def wait(self) -> None:
        """Returns when it has ended after `ask`, or a second after the end of its time."""
        if threading.current_thread() is self._thread:
            return
        deadline = time.monotonic() + self._options.stop_timeout + 1.0
        # Not Thread.join, which takes the thread for ended (Python 3.11) once an exception of a signal interrupted it;
        # and in short waits, for a signal that comes just before one is handled after it.
        while not self._ended.wait(0.1) and time.monotonic() < deadline:
            pass
        if self._ended.is_set():
            process.this().leave(self)

    def disown(self) -> None:
        """In a forked child: the thread and the connection stayed with the parent."""
        self.life, self._buffer.attention = Life.FORKED, True
        self._sinks, self._inherited = Sinks((), 0), self._sinks  # whose locks may be held for ever
        # Never finalised: gRPC would wait for threads that are not there.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    @property
    def held_bytes(self) -> int:
        """Bytes in the host's memory that have left the buffer."""
        return self._buffer.drained_bytes + self._delivery.memory_bytes

    @property
    def delivered(self) -> bool:
        """Whether the server has acknowledged everything and nothing was dropped."""
        return self._delivery.outstanding == 0 and not self._losses.dropped

    def stats(self) -> dict[str, Any]:
        """The counters that DataLogger.stats documents."""
        waiting, delivery, sinks = self._buffer.waiting(), self._delivery, self._sinks.stats()
        return {
            "writes": self._counts["writes"] + waiting,
            "points": self._counts["points"],
            "bytes": self._counts["bytes"],
            "flushes": self._counts["flushes"],
            "transfers": self._buffer.transfers,
            "batches": delivery.offered,
            "outstanding": delivery.outstanding,
            "lag": delivery.lag(time.monotonic()),
            "retries": delivery.counts["retries"],
            "spooled": delivery.counts["spooled"],
            "spool_bytes": delivery.spool_bytes,
            "waiting_writes": waiting,
            "waiting_bytes": self.held_bytes + self._buffer.nbytes(),
            "connected": delivery.connected,
            "rejected": dict(self._losses.rejected),
            "dropped": dict(self._losses.dropped),
            "errors": self._counts["errors"]
            + self._losses.errors
            + delivery.counts["errors"]
            + sum(it["errors"] for it in sinks.values()),
            "sinks": sinks,
        }

    # ---- the thread

    def _run(self) -> None:
        while not self._finished():
            try:
                self._step(self._wait())
            except Exception:  # noqa: BLE001 - this thread must not die: counted, said once, tried again later
                self._count_failure()
                self._next_flush = self._delivery.next_connect = time.monotonic() + self._options.flush_every
        try:
            self._close()
        finally:
            process.this().leave(self)
            self._ended.set()

    def _wait(self) -> _Event:
        beat = None if self._delivery.outstanding else self._heartbeat.deadline
        deadlines = (self._next_flush, self._stop.deadline if self._stop else None, self._delivery.deadline(), beat)
        known = [deadline for deadline in deadlines if deadline is not None]
        try:
            return self._events.get(timeout=max(0.0, min(known) - time.monotonic()) if known else None)
        except Empty:
            return None

    def _step(self, event: _Event) -> None:
        now = time.monotonic()
        self._take(event, now)
        waiting = any(ticket.target is None for ticket in self._tickets)
        late = self._stop is not None and self._buffer.waiting()  # by threads that did not see the end coming
        if self._hurry or waiting or late or (self._next_flush is not None and now >= self._next_flush):
            self._flush(now)
        self._beat(now)
        self._delivery.pump(now)
        self._losses.hold(now)
        self._losses.damaged(self._delivery.take_losses(), self._delivery.take_lost())
        self._settle_tickets()

    def _take(self, event: _Event, now: float) -> None:
        if isinstance(event, _Ticket):
            self._tickets.append(event)
        elif isinstance(event, _Stop):
            self._stop, self._heartbeat.end = self._stop or event, self._heartbeat.end or event.end
            self._flush(now)
            self._delivery.next_connect = now
        elif event is not None:
            rejection = self._delivery.take(event, now)
            if rejection is not None:
                self._losses.reject(*rejection)
        elif self._next_flush is None:
            self._next_flush = now + FIRST_WRITE_DELAY

    # ---- flushing

    def _flush(self, now: float) -> None:
        self._hurry = False
        self._next_flush = now + self._options.flush_every
        if self._can_take():
            drained, configs = self._buffer.drain(), list(_taken(self._configs))
            self._counts.update(writes=drained.writes, points=drained.points)
            if drained.unreadable:
                self._losses.unreadable(drained.unreadable, self._names())
            if drained.blocks or configs:
                self._counts["flushes"] += 1
                self._heartbeat.wrote(now)
                self._feed_sinks(drained.blocks, configs)
                try:
                    self._offer(drained.blocks, configs, now)
                except Exception:  # a mistake of ours: it may have lost all that this flush took out
                    names = self._names()
                    for block in drained.blocks:
                        self._losses.count({names[block.topic]: block.points})
                    raise
                finally:
                    self._buffer.drained_bytes = 0
            else:
                self._go_quiet()
                if self._stop and self._heartbeat.introduced:
                    self._offer((), (), now)
            for ticket in self._tickets:
                ticket.target = self._delivery.offered if ticket.target is None else ticket.target
        host = self.held_bytes + self._buffer.nbytes()
        self.full = host >= self._options.max_host_bytes or self._buffer.device_bytes >= self._options.max_device_bytes
        self._buffer.attention |= self.full

    def _can_take(self) -> bool:
        """Whether what a flush finds has somewhere to go; by default it does, if need be as a counted loss."""
        if self._options.on_full == "spool" or self._stop or self._delivery.has_room:
            return True
        away = self._delivery.silent or not self._delivery.connected
        return away and self._delivery.spool_bytes + self._buffer.nbytes() < self._options.spool_max_bytes

    def _go_quiet(self) -> None:
        """From now on the next write wakes this thread."""
        self._next_flush = None
        self.quiet = self._buffer.attention = True
        if self._buffer.waiting():  # written before the writer could see that
            self._next_flush = time.monotonic() + FIRST_WRITE_DELAY

    def _feed_sinks(self, blocks: Sequence[Block], configs: Sequence[Mapping[str, Any]]) -> None:
        if self._sinks:
            names = self._names()
            self._sinks.feed([(names[block.topic], block) for block in blocks], configs)

    def _beat(self, now: float) -> None:
        """Says how the run is doing when nothing else is under way that could say it."""
        deadline = self._heartbeat.deadline
        if deadline is not None and not self._delivery.outstanding and now >= deadline:
            self._offer((), (), now)

    def _counters(self) -> dict[str, Any]:
        """Of the counters those that readers are told, in few bytes."""
        stats = self.stats()
        sinks = {name: {key: sink[key] for key in ("lag", "errors")} for name, sink in stats["sinks"].items()}
        lost = {"dropped": sum(stats["dropped"].values()), "rejected": len(stats["rejected"])}
        return {**{key: stats[key] for key in _REPORTED}, **lost, **({"sinks": sinks} if sinks else {})}

    def _offer(self, blocks: Sequence[Block], configs: Sequence[Mapping[str, Any]], now: float) -> None:
        for group, last in _with_last(_groups(blocks, self._declared_sizes(blocks)) if blocks else [()]):
            size = sum(block.size for block in group)
            self._counts["bytes"] += size
            status = self._heartbeat.status(now, time.time(), self._counters) if last else None
            batch = replace(self._batch(group, configs), status=status)
            configs = []
            try:
                self._delivery.offer(batch)
            except (BufferFullError, SpoolError) as error:
                self._counts["bytes"] -= size
                self._losses.drop(batch, error)
            else:
                self._replaced.update(block.topic for block in group)
                self._delivery.pump(now)

    def _declared_sizes(self, blocks: Sequence[Block]) -> dict[int, int]:
        """By handle, the bytes of what declares the topics of these blocks."""
        wanted = {block.topic for block in blocks}
        topics = list(self._buffer.topics.items())
        return {
            handle: _text_size(self._scope, name, *columns) for name, (handle, columns) in topics if handle in wanted
        }

    def _batch(self, blocks: Sequence[EncodedBlock], configs: Sequence[Mapping[str, Any]]) -> Batch:
        """A batch that stands for itself: it declares every topic that it adds to."""
        handles = {block.topic for block in blocks}
        declarations = tuple(
            Declaration(handle, self._scope, name, names, self._options.replace and handle not in self._replaced)
            for name, (handle, names) in list(self._buffer.topics.items())
            if handle in handles
        )
        return Batch("", 0, declarations, tuple(Config(self._scope, values) for values in configs), tuple(blocks))

    def _names(self) -> dict[int, str]:
        """The name behind each handle."""
        return {handle: name for name, (handle, _) in list(self._buffer.topics.items())}

    # ---- those who wait, and the end

    def _settle_tickets(self) -> None:
        for ticket in tuple(self._tickets):
            if ticket.target is not None and ticket.target <= self._delivery.safe:
                self._tickets.remove(ticket)
                self._settle(ticket)

    def _settle(self, ticket: _Ticket) -> None:
        strict = self._options.strict
        ticket.error = self._losses.tell(strict) if ticket.hears else None
        if ticket.error is None and strict and self._delivery.stuck:
            ticket.error = BufferFullError(f"points of {self._scope!r} are in memory alone: see the log")
        ticket.done.set()

    def _finished(self) -> bool:
        """Everything is delivered, or a try after the stop found nobody, or the time is up."""
        if self._stop is None:
            return False
        gave_up = not self._delivery.connected and self._delivery.next_connect > time.monotonic()
        return self._delivery.outstanding == 0 or gave_up or time.monotonic() >= self._stop.deadline

    def _close(self) -> None:
        if self._buffer.waiting():
            self._flush(time.monotonic())
        lost = self._delivery.close()
        self._losses.damaged(self._delivery.take_losses(), self._delivery.take_lost())
        for batch in lost:
            self._losses.drop(batch, SpoolError("the program ends, and neither the server nor the disk has taken them"))
        for ticket in [*self._tickets, *(event for event in _taken(self._events) if isinstance(event, _Ticket))]:
            self._settle(ticket)
        path = self._delivery.spool_path
        if self._delivery.outstanding and path.exists():
            push_it = f"streamvis push {path} {self._options.uri}"
            _log.warning("points of %r wait for the server in %s: `%s`", self._scope, path, push_it)
        self._losses.close()
        self._sinks.close(self._stop.deadline if self._stop else 0.0)
        self._on_end(self.delivered)

    def _count_failure(self) -> None:
        self._counts["errors"] += 1
        if not self._said_failure:
            self._said_failure = True
            _log.exception("the sender of %r failed and goes on", self._scope)


def _taken(queue: SimpleQueue[Any]) -> Iterator[Any]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


def _groups(blocks: Sequence[Block], declared: Mapping[int, int]) -> Iterator[tuple[EncodedBlock, ...]]:
    """Encoded blocks in order, in groups of about BATCH_BYTES with the declarations of their topics, by handle."""
    group: list[EncodedBlock] = []
    nbytes = topic = 0
    for block in blocks:
        width = sum(values.itemsize for values in block.columns.values())
        most = min(MAX_BLOCK_POINTS, MAX_UNFOLDED_BYTES // width)
        for encoded in map(encode, split(block, BATCH_BYTES, most, MAX_BLOCK_INDEXES)):
            if group and nbytes + encoded.size > BATCH_BYTES:
                yield tuple(group)
                group, nbytes, topic = [], 0, 0
            group.append(encoded)
            nbytes += encoded.size + (declared[block.topic] if block.topic != topic else 0)
            topic = block.topic
    if group:
        yield tuple(group)


def _text_size(*texts: str) -> int:
    """Bytes of the texts in a message, at most."""
    return sum(4 * len(text) + 8 for text in texts)


def _with_last(items: Iterable[_T]) -> Iterator[tuple[_T, bool]]:
    """Each item, and whether it is the last."""
    iterator = iter(items)
    item = next(iterator)
    for following in iterator:
        yield item, False
        item = following
    yield item, True
