"""What one stream of batches may say; whatever breaks these rules is refused before it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from streamvis.codec import (
    MAX_BLOCK_INDEXES,
    MAX_UNFOLDED_BYTES,
    EncodedBlock,
    checksum,
    column_count,
    decode,
    is_compressed,
    point_size,
    validate,
)
from streamvis.columns import MAX_COLUMNS
from streamvis.errors import MalformedError
from streamvis.records import CONFIGS, Batch, Declaration, Status
from streamvis.wire import load_config

MAX_TEXT_BYTES = 4096
MAX_HEARTBEAT = 86_400.0
MAX_COUNTERS_BYTES = 64 << 10
MAX_BLOCK_BYTES = 8 << 20

_STATES = ("running", "stalled", "finished", "crashed")


class BatchChecker:
    """Checks the batches of one stream, and remembers the handles that it declared."""

    def __init__(self) -> None:
        self._columns: dict[int, int] = {}

    def check(self, batch: Batch) -> None:
        """Raises MalformedError, naming the batch, unless all of it can be stored."""
        try:
            check_text("writer", batch.writer)
            _check_number(batch.number)
            for config in batch.configs:
                check_text("scope", config.scope)
            declared = {**self._columns, **{d.handle: _check_declaration(d) for d in batch.declarations}}
            _check_unique("handle", [declaration.handle for declaration in batch.declarations])
            _check_unique("topic", [(declaration.scope, declaration.name) for declaration in batch.declarations])
            for block in batch.blocks:
                _check_block(block, declared)
            if batch.status is not None:
                _check_status(batch.status)
        except MalformedError as error:
            raise MalformedError(f"batch {batch.number}: {error}; nothing of it was stored") from None
        self._columns = declared


def check_text(what: str, text: str) -> None:
    """Raises MalformedError unless the text can name a scope, a topic, a column or a writer."""
    size = len(text.encode(errors="surrogatepass"))
    if not size or size > MAX_TEXT_BYTES:
        raise MalformedError(f"{what} {_shown(text)} has {size} bytes; expected 1 to {MAX_TEXT_BYTES}")
    if "\0" in text:
        raise MalformedError(f"{what} {_shown(text)} has a NUL character, which no store can keep")


def _check_number(number: int) -> None:
    if not 0 < number < 1 << 63:
        raise MalformedError(f"its number is {number}; expected 1, 2, 3, …")


def _check_unique(what: str, declared: Sequence[object]) -> None:
    if len(set(declared)) < len(declared):
        raise MalformedError(f"it declares a {what} twice; expected each once per batch")


def _check_status(status: Status) -> None:
    check_text("scope", status.scope)
    if status.state not in _STATES:
        raise MalformedError(f"its status is {_shown(status.state)}; expected one of {', '.join(_STATES)}")
    if not 0 < status.heartbeat <= MAX_HEARTBEAT or not math.isfinite(status.started + status.updated):
        raise MalformedError("its status has a heartbeat or times that cannot be")
    if len(status.counters) > MAX_COUNTERS_BYTES:
        raise MalformedError(f"its counters have {len(status.counters)} bytes; expected at most {MAX_COUNTERS_BYTES}")
    load_config(status.counters.encode())


def _check_declaration(declaration: Declaration) -> int:
    """How many columns it declares."""
    check_text("scope", declaration.scope)
    check_text("name", declaration.name)
    if declaration.handle == CONFIGS:
        raise MalformedError(f"{_shown(declaration.name)} is declared with handle {CONFIGS}; expected 1, 2, 3, …")
    columns = declaration.columns
    for column in columns:
        check_text(f"column of {_shown(declaration.name)}", column)
    if not 0 < len(columns) <= MAX_COLUMNS or sorted(set(columns)) != list(columns):
        raise MalformedError(
            f"{_shown(declaration.name)} declares columns {_shown(', '.join(columns))}; "
            f"expected 1 to {MAX_COLUMNS} different names in sorted order"
        )
    return len(columns)


def _check_block(block: EncodedBlock, declared: Mapping[int, int]) -> None:
    topic, index, k, n, columns, payload, crc = block
    if topic not in declared:
        raise MalformedError(f"a block has handle {topic}, which this stream has not declared")
    if column_count(columns) != declared[topic]:
        raise MalformedError(
            f"a block of handle {topic} has {column_count(columns)} columns; {declared[topic]} were declared"
        )
    validate(block)
    _check_size(k, n, columns, len(payload))
    if checksum(index, k, n, columns, payload) != crc:
        raise MalformedError(f"a block of handle {topic} was damaged on its way: its CRC does not match")
    if is_compressed(columns):  # loggers leave that to compaction
        decode(block, [""] * column_count(columns))


@lru_cache(maxsize=1024)  # blocks that are written together look alike
def _check_size(k: int, n: int, columns: bytes, payload_size: int) -> None:
    size = len(columns) + payload_size
    if size > MAX_BLOCK_BYTES:
        raise MalformedError(f"a block has {size} bytes; split it into blocks of at most {MAX_BLOCK_BYTES}")
    if k > MAX_BLOCK_INDEXES:
        raise MalformedError(f"a block has {k} indexes; split it into blocks of at most {MAX_BLOCK_INDEXES}")
    unfolded = k * n * point_size(columns)
    if unfolded > MAX_UNFOLDED_BYTES:
        raise MalformedError(
            f"a block unfolds to {unfolded} bytes; split it into blocks of at most {MAX_UNFOLDED_BYTES}"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")
