"""Large blocks in and out of a message without copying them; pure.

`Batch` and `Change` keep their blocks in the field of the highest number, and a block its payload. So what protobuf
serialises without blocks, followed by blocks whose payload follows their other fields, is what it would have
serialised with them; and a payload can be handed on where it lies in a message that has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Bytes: TypeAlias = bytes | memoryview

LARGE_BYTES = 1 << 14
"""From this size on a copy costs more than the few microseconds of handling a block here."""

_TAG = b"\x7a"  # field 15, of a length that follows: the blocks of a message, and the payload of a block
_MOST_SMALL = 16
"""After so many blocks that are not large, a message is left to protobuf."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def framed(message: bytes, blocks: Iterable[tuple[bytes, Bytes]]) -> bytes:
    """A serialised message without blocks, and blocks as their other fields, serialised, and their payload."""
    pieces: list[Bytes] = [message]
    for head, payload in blocks:
        size = len(payload)
        if not size:  # as protobuf, which leaves out what is empty
            pieces += _TAG, _varint(len(head)), head
            continue
        payload_size = _varint(size)
        pieces += _TAG, _varint(len(head) + len(_TAG) + len(payload_size) + size), head, _TAG, payload_size, payload
    return b"".join(pieces)


def unframed(data: bytes) -> tuple[bytes, list[tuple[bytes, memoryview]]] | None:
    """What `framed` put together; None for what it did not, or what is not worth it."""
    view, at = memoryview(data), 0
    blocks: list[tuple[bytes, memoryview]] = []
    head = small = 0
    try:
        while at < len(data):
            stop = _end_of_field(data, at)
            if data[at] == _TAG[0]:
                _, start = _number(data, at + 1)
                block = _split(data, view, start, stop)
                small += stop - start < LARGE_BYTES
                if block is None or small > _MOST_SMALL:
                    return None
                blocks.append(block)
            elif blocks:
                return None
            else:
                head = stop
            at = stop
    except IndexError:
        return None
    return (data[:head], blocks) if at == len(data) and blocks else None


def _split(data: bytes, view: memoryview, at: int, stop: int) -> tuple[bytes, memoryview] | None:
    """A block's other fields and its payload, which must be the last one."""
    start = at
    while at < stop and data[at] != _TAG[0]:
        at = _end_of_field(data, at)
    if at > stop:
        return None
    if at == stop:
        return data[start:at], view[at:at]
    size, payload = _number(data, at + 1)
    return (data[start:at], view[payload:stop]) if size and payload + size == stop else None


def _end_of_field(data: bytes, at: int) -> int:
    tag, at = _number(data, at)
    kind = tag & 7
    if kind == _VARINT:
        return _number(data, at)[1]
    if kind == _LENGTH:
        size, at = _number(data, at)
        return at + size
    if kind in (_FIXED32, _FIXED64):
        return at + (4 if kind == _FIXED32 else 8)
    raise IndexError(f"no field of kind {kind}")


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends. Raises IndexError where it does not."""
    number = shift = 0
    while (byte := data[at]) & 0x80:
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if shift > 63:
            raise IndexError("a varint of more than 64 bits")
    return number | byte << shift, at + 1


def _varint(number: int) -> bytes:
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)
