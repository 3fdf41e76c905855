"""Frames of the data websocket: typed arrays as they lie in memory. `static/frames.js` reads them.

u8 operation, u8 plot, u16 n, then n headers of (u8[4] dtype, u32 bytes), then the arrays, each padded to four bytes.
All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any

import numpy as np

PAGE = 255
"""The plot number of frames that concern the whole page."""


class Op(IntEnum):
    """What a frame does to its plot. Arrays in order; t is left out by plots without a slider."""

    NOTE = 0
    """JSON in one u1 array: what the page shows beside the points."""
    REPLACE = 1
    """origin f8[2], counts u4, rgba u1, x f4, y f4, t f4: all series."""
    APPEND = 2
    """slots u4, counts u4, x f4, y f4, t f4: new points."""
    ADD = 3
    """rgba u1: further series without points."""
    CLEAR = 4
    """slots u4: series whose topic was deleted."""
    COLORS = 5
    """rgba u1 of all series."""
    TICK = 6
    """Nothing: paint, then answer."""


Array = np.ndarray[Any, np.dtype[Any]]


def encode(op: Op, plot: int, *arrays: Array) -> bytes:
    """One frame."""
    head = struct.pack("<BBH", op, plot, len(arrays))
    heads = b"".join(struct.pack("<4sI", array.dtype.str[1:].encode(), array.nbytes) for array in arrays)
    bodies = b"".join(array.tobytes() + bytes(-array.nbytes % 4) for array in arrays)
    return head + heads + bodies


def note(plot: int, values: Any) -> bytes:
    """A frame of JSON."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return encode(Op.NOTE, plot, np.frombuffer(text.encode("utf-8", "surrogatepass"), "u1"))


def decode(frame: bytes) -> tuple[Op, int, list[Array]]:
    """The operation, the plot and the arrays of a frame."""
    op, plot, count = struct.unpack_from("<BBH", frame)
    at = 4 + 8 * count
    arrays = []
    for number in range(count):
        dtype, size = struct.unpack_from("<4sI", frame, 4 + 8 * number)
        arrays.append(np.frombuffer(frame[at : at + size], "<" + dtype.decode().rstrip("\0")))
        at += size + -size % 4
    return Op(op), plot, arrays
