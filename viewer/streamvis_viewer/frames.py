"""Frames of the data websocket: typed arrays as they lie in memory. `static/frames.js` reads them.

u8 operation, u8 plot, u16 n, then n headers of (u8[4] dtype, u32 bytes), then the arrays, each padded to four bytes.
All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np

PAGE = 255
"""The plot number of frames that concern the whole page."""


class Op(IntEnum):
    """What a frame does to its plot.

    Columns are f4 offsets from an origin: x and y, then what the plot's layout note names: further columns, that of the
    first slider, y's moving average.
    """

    NOTE = 0
    """JSON in one u1 array: of the page what it shows beside the points; of a plot its layout or its series."""
    REPLACE = 1
    """origin f8 of each column, counts u4, columns: all series. After a moving average: their points in all, u4."""
    APPEND = 2
    """slots u4, counts u4, columns but the moving average: new points."""
    CLEAR = 3
    """slots u4: series whose topic was deleted."""
    DETAIL = 4
    """u4 (number of the look, whether all points are here), f8 (low and high of x, of y); then as in REPLACE."""
    DENSITY = 5
    """number of the look u4, f8 (low and high of x, of y), u4 (width, height), rgba u1 from the top: their image."""
    TICK = 6
    """Nothing: paint, then answer."""


Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class Later:
    """A frame that is made when somebody calls for it, once, on that thread: making it may take long."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make: Callable[[], bytes] | None = make
        self._made = b""
        self._lock = threading.Lock()

    def __call__(self) -> bytes:
        """The frame."""
        with self._lock:
            if self._make:
                self._made, self._make = self._make(), None
            return self._made


Frame: TypeAlias = bytes | Later


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
