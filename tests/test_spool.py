"""The spool: what was appended is read back in order until it is acknowledged, torn tails and all."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis import spool as spool_module
from streamvis.codec import EncodedBlock
from streamvis.errors import BufferFullError, MalformedError, SpoolError
from streamvis.records import Batch
from streamvis.spool import Spool, leftovers, read_segment


def _batch(number: int, size: int = 10) -> Batch:
    return Batch("w", number, blocks=(EncodedBlock(1, 0, 1, 1, b"", bytes(size), 0),))


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


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    """A flipped byte is an error that says where, not a wrong point."""
    spool = Spool(tmp_path, "w", 1 << 20)
    spool.append(_batch(1))
    spool.close()
    segment = next(spool.path.glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    with pytest.raises(MalformedError, match=f"{segment.name} is damaged"):
        list(read_segment(segment))


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
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (spool.path / "owner").write_text(f"{socket.gethostname()} {dead.pid}")
    assert leftovers(tmp_path) == ([spool.path], [])
    assert leftovers(spool.path) == ([spool.path], [])
    spool.close()


def test_a_missing_spool_is_an_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(SpoolError, match="there is no spool at"):
        leftovers(tmp_path / "none")
