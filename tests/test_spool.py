"""The spool: what was appended is read back in order until it is acknowledged, torn tails and all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis import spool as spool_module
from streamvis.codec import EncodedBlock
from streamvis.errors import BufferFullError, SpoolError
from streamvis.records import Batch, Config, Declaration
from streamvis.spool import Loss, Spool, leftovers


def _batch(number: int, size: int = 10) -> Batch:
    return Batch("w", number, blocks=(EncodedBlock(1, 0, 1, 1, b"", bytes([number % 256]) * size, 0),))


def _named(number: int) -> Batch:
    """As many points of a as its number, and of one other name."""
    names = ("a", f"b{number % 3}")
    declared = tuple(Declaration(handle, "run", name, ("x",)) for handle, name in enumerate(names, 1))
    blocks = tuple(EncodedBlock(handle, 0, 1, number, b"", bytes(10), 0) for handle in (1, 2))
    return Batch("w", number, declared, (Config("run", {}),), blocks)


def _numbers(spool: Spool) -> list[int]:
    return [batch.number for batch in iter(spool.read, None)]


@given(
    actions=st.lists(st.sampled_from(["append", "append", "read", "acknowledge", "rewind"]), max_size=60),
    segment_bytes=st.sampled_from([1, 100, 10_000]),
)
def test_unacknowledged_batches_are_read_in_order(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str], segment_bytes: int
) -> None:
    """Against a list: appends, reads, acknowledgements and rewinds in any order, over one segment or many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "SEGMENT_BYTES", segment_bytes)
        spool = Spool(tmp_path_factory.mktemp("spool"), "w", 1 << 20)
        last = read = acknowledged = 0
        for action in actions:
            if action == "append":
                last += 1
                spool.append(_batch(last))
            elif action == "read":
                batch = spool.read()
                assert (batch.number if batch else None) == (read + 1 if read < last else None)
                read = min(read + 1, last)
            elif action == "acknowledge" and acknowledged < read:
                acknowledged += 1
                spool.acknowledge(acknowledged)
            elif action == "rewind":
                spool.rewind()
                read = acknowledged
            assert spool.empty == (acknowledged == last)
        spool.rewind()
        assert _numbers(spool) == list(range(acknowledged + 1, last + 1))
        spool.discard()
        assert not spool.path.exists()
        spool.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_tail_ends_its_segment(tmp_path: Path, cut: int) -> None:
    """The batches before a half-written one are whole."""
    spool = Spool(tmp_path, "w", 1 << 20)
    for number in (1, 2, 3):
        spool.append(_batch(number))
    spool.close()
    segment = next(spool.path.glob("*.seg"))
    os.truncate(segment, segment.stat().st_size - cut)
    with contextlib.closing(Spool.existing(spool.path)) as left:
        assert _numbers(left) == [1, 2]


def _spool_of(root: Path, count: int, segment_bytes: int) -> Spool:
    """The batches 1 to `count`, in segments of about that size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "SEGMENT_BYTES", segment_bytes)
        spool = Spool(root, "w", 1 << 20)
        for number in range(1, count + 1):
            spool.append(_batch(number))
    return spool


def _check(spool: Spool, last: int, first: int = 1) -> tuple[list[int], list[Loss]]:
    """Reads all, from `first` to `last`: what came as it was, and the losses, which tell what came empty instead."""
    found = list(iter(spool.read, None))
    assert [batch.number for batch in found] == list(range(first, last + 1))
    whole = [batch.number for batch in found if batch.blocks]
    assert all(batch in (_batch(batch.number), Batch("w", batch.number)) for batch in found)
    losses = spool.take_losses()
    told = [number for loss in losses if loss.last for number in range(loss.first, loss.last + 1)]
    assert sorted({*range(first, last + 1)} - {*whole}) == told
    assert spool.take_losses() == []
    return whole, losses


@given(
    data=st.data(),
    segment_bytes=st.sampled_from([1, 150, 10_000]),
    damage=st.sampled_from(["flip", "cut", "delete", "zeros", "garbage", "twice"]),
)
def test_damage_costs_the_batches_that_it_hits_and_no_other(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, segment_bytes: int, damage: str
) -> None:
    """Wherever a byte flips, a file is cut, deleted or goes on with something else: what is lost is told, never wrong.

    Also to the logger whose spool it is, which goes on with it; and another process learns it as far as it can know.
    """
    count = 8
    root = tmp_path_factory.mktemp("spool")
    spool = _spool_of(root, count, segment_bytes)
    size = spool.nbytes // count
    segments = sorted(spool.path.glob("*.seg"))
    hit = data.draw(st.sampled_from(segments))
    whole = bytearray(hit.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    first = sum(segment.stat().st_size for segment in segments[: segments.index(hit)]) // size + 1
    lost = {first + at // size}
    if damage == "flip":
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    elif damage == "cut":
        lost = set(range(first + at // size, first + len(whole) // size))
        del whole[at:]
    elif damage == "delete":
        lost = set(range(first, first + len(whole) // size))
    else:
        lost = set()
        whole += {"zeros": bytes(40), "garbage": b"svb2" * 10, "twice": bytes(whole[:size])}[damage]
    hit.unlink() if damage == "delete" else hit.write_bytes(whole)

    with contextlib.closing(Spool.existing(spool.path)) as left:
        known = max({*range(1, count + 1)} - lost, default=0)
        begin = min(range(1, count + 1), key=lambda number: damage == "delete" and number in lost)
        mine, losses = _check(left, known, begin)
        assert mine == sorted({*range(1, known + 1)} - lost)
        at_the_end = {"flip": known < count, "zeros": hit == segments[-1], "garbage": hit == segments[-1]}
        assert any(loss.last is None for loss in losses) == at_the_end.get(damage, False)

    assert _check(spool, count)[0] == sorted({*range(1, count + 1)} - lost)
    spool.append(_batch(count + 1))
    spool.rewind()
    assert [batch.number for batch in iter(spool.read, None) if batch.blocks][-1:] == [count + 1]
    assert spool.take_losses() == []
    spool.discard()
    assert not spool.path.exists()
    if damage in ("flip", "delete", "twice"):
        assert (root / "damaged").exists() == (damage == "flip")
    spool.close()


@given(
    acknowledged=st.integers(0, 8),
    segment_bytes=st.sampled_from([1, 250, 10_000]),
    damage=st.tuples(st.integers(0, 7), st.booleans(), st.booleans()),
)
def test_what_goes_with_a_file_is_counted_by_name(
    tmp_path_factory: pytest.TempPathFactory, acknowledged: int, segment_bytes: int, damage: tuple[int, bool, bool]
) -> None:
    """All that was added and neither acknowledged before nor read afterwards, whenever files are damaged or deleted."""
    hit, gone, rewound = damage
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "SEGMENT_BYTES", segment_bytes)
        spool = Spool(tmp_path_factory.mktemp("spool"), "w", 1 << 20)
        added = {number: _named(number) for number in range(1, 9)}
        for batch in added.values():
            spool.append(batch)
    left = Counter[str]()
    for batch in added.values():
        left += batch.contents()

    def acknowledge(batch: Batch) -> None:
        nonlocal left
        left -= batch.contents()
        spool.release(batch)
        spool.acknowledge(batch.number)

    for batch in itertools.islice(iter(spool.read, None), acknowledged):
        acknowledge(batch)
    segments = sorted(spool.path.glob("*.seg"))
    if segments:
        segment = segments[hit % len(segments)]
        segment.unlink() if gone else segment.write_bytes(b"?" * segment.stat().st_size)
    if rewound:
        spool.rewind()
    for batch in iter(spool.read, None):
        acknowledge(batch)
    assert spool.take_lost() == left
    assert not spool.take_lost()
    spool.close()


def test_what_is_gone_when_the_spool_is_closed_is_lost(tmp_path: Path) -> None:
    """Nobody will read it any more."""
    spool = Spool(tmp_path, "w", 1 << 20)
    for number in (1, 2):
        spool.append(_named(number))
    shutil.rmtree(tmp_path)
    spool.close()
    assert spool.take_lost() == _named(1).contents() + _named(2).contents()
    assert [(loss.first, loss.last) for loss in spool.take_losses()] == [(1, 2)]


def test_a_loss_is_told_with_its_place(tmp_path: Path) -> None:
    """The file and the numbers of the batches."""
    path = tmp_path / "1.seg"
    assert [str(Loss(path, *numbers)) for numbers in ((3, 3), (3, 5), (3, None), (3, 5, True))] == [
        f"{path} is damaged: batch 3 is lost",
        f"{path} is damaged: batches 3 to 5 are lost",
        f"{path} is damaged after batch 2: what followed is lost",
        f"{path} is gone: batches 3 to 5 are lost, unless a push has sent them",
    ]
    assert [Loss(path, *numbers).batches for numbers in ((3, 3), (3, 5), (3, None))] == [1, 3, 1]


class _FullDisk:
    """`os.write` of a disk on which there is room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, file: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(len(data), self.room)
        self.room -= taken
        return _os_write(file, data[:taken])


_os_write = os.write


@pytest.mark.parametrize("truncates", [True, False])
def test_a_disk_that_fills_within_a_record_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truncates: bool
) -> None:
    """The half record is taken back; even where it cannot be, those that come later are whole."""
    spool = Spool(tmp_path, "w", 1 << 20)
    spool.append(_batch(1))
    disk = _FullDisk(spool.nbytes // 2)
    monkeypatch.setattr(os, "write", disk)
    if not truncates:
        monkeypatch.setattr(os, "ftruncate", lambda *_: os.open(tmp_path / "none" / "none", os.O_RDONLY))
    for _ in range(3):
        with pytest.raises(SpoolError, match="No space left"):
            spool.append(_batch(2))
    disk.room = 1 << 20
    for number in (2, 3):
        spool.append(_batch(number))
    assert len(list(spool.path.glob("*.seg"))) == (1 if truncates else 2)
    spool.close()
    with contextlib.closing(Spool.existing(spool.path)) as left:
        assert _check(left, 3) == ([1, 2, 3], [])


def test_what_was_not_added_whole_can_be_added_again(tmp_path: Path) -> None:
    """After `clear` the spool is as if nothing had been added since the last acknowledgement."""
    spool = Spool(tmp_path, "w", 1 << 20)
    spool.acknowledge(4)
    for _ in range(2):
        for number in (5, 6):
            spool.append(_batch(number))
        assert _numbers(spool) == [5, 6]
        spool.clear()
        assert spool.empty
        assert not list(spool.path.glob("*.seg"))
    spool.append(_batch(5))
    spool.rewind()
    assert _numbers(spool) == [5]
    assert spool.take_losses() == []
    spool.close()


def test_a_file_that_cannot_be_read_for_now_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its system says that; later all of it may be there."""
    spool = Spool(tmp_path, "w", 1 << 20)
    spool.append(_batch(1))

    def refuse(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(SpoolError, match=r"cannot read .*0001\.seg.*Stale"):
            spool.read()
    assert _check(spool, 1) == ([1], [])
    spool.close()


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    """The limit is an error that says what to do; what was kept can be read."""
    spool = Spool(tmp_path, "w", 200)
    spool.append(_batch(1, 100))
    with pytest.raises(BufferFullError, match="limit of 200 bytes"):
        spool.append(_batch(2, 100))
    assert _numbers(spool) == [1]
    spool.close()


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The disk's refusal names the spool."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot write to the spool"):
        Spool(tmp_path / "file", "w", 1 << 20).append(_batch(1))


def test_a_running_loggers_spool_is_left_to_it(tmp_path: Path) -> None:
    """Leftovers are the spools whose owner has gone."""
    spool = Spool(tmp_path, "mine", 1 << 20)
    spool.append(_batch(1))
    assert leftovers(tmp_path) == ([], [spool.path])
    owner, host = spool.path / "owner", socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for claim in (f"{host} {dead.pid} 1", "nonsense", f"{host} nobody 1"):
        owner.write_text(claim)
        assert leftovers(tmp_path) == ([spool.path], [])
        assert leftovers(spool.path) == ([spool.path], [])
    spool.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say when a process started")
def test_a_recycled_process_number_owns_nothing(tmp_path: Path) -> None:
    """As in a container that starts again under the same name, where every trainer is process 1."""
    spool = Spool(tmp_path, "mine", 1 << 20)
    spool.append(_batch(1))
    owner = spool.path / "owner"
    host, pid, started = owner.read_text().split()
    owner.write_text(f"{host} {pid} {int(started) - 1}")
    assert leftovers(tmp_path) == ([spool.path], [])
    owner.write_text(f"{host} 1 {started}")
    assert leftovers(tmp_path) == ([spool.path], [])
    spool.close()


def test_the_claim_of_another_host_lasts_as_long_as_it_is_renewed(tmp_path: Path) -> None:
    """A logger renews it while its spool holds anything, whether or not something is written."""
    spool = Spool(tmp_path, "mine", 1 << 20)
    spool.hold(0.0)
    spool.append(_batch(1))
    owner = spool.path / "owner"

    def age(seconds: float) -> None:
        os.utime(owner, (time.time() - seconds,) * 2)

    owner.write_text("node17 1 1")
    for seconds, free in ((0, []), (spool_module.CLAIM_SECONDS + 1, [spool.path])):
        age(seconds)
        assert leftovers(tmp_path)[0] == free
    spool.hold(100.0)
    assert owner.read_text().startswith(f"{socket.gethostname()} {os.getpid()} ")
    age(3600)
    spool.hold(101.0)
    assert time.time() - owner.stat().st_mtime > 3000
    spool.hold(111.0)
    assert time.time() - owner.stat().st_mtime < 60
    shutil.rmtree(spool.path)
    spool.hold(200.0)
    spool.acknowledge(1)
    spool.hold(300.0)
    assert not spool.path.exists()
    spool.close()


def test_a_missing_spool_is_an_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(SpoolError, match="there is no spool at"):
        leftovers(tmp_path / "none")
