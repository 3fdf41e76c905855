"""What the window of a thinned plot needs: the points within it, or an image of them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamvis_viewer import lod, packed
from streamvis_viewer.frames import Array, Op, encode
from streamvis_viewer.packed import Points, Rows, Snapshot
from streamvis_viewer.strips import Shown

DETAIL_POINTS = 1 << 20
"""About as many points as a detail has at most; a cloud of more becomes an image."""

_POINTS_PER_PIXEL = 4
_PIXELS_PER_CELL = 2
_MOST_PIXELS = 16_384


@dataclass(frozen=True, slots=True)
class Look:
    """A window that a tab looks at, numbered by the tab; what it is sent repeats the number."""

    ask: int
    x: lod.Span
    y: lod.Span
    width: int
    """In pixels."""
    height: int
    value: float | None
    """Of the first slider: only points with this value of its column."""
    slots: tuple[int, ...] | None
    """The series that show; None: all."""
    colors: tuple[tuple[int, ...], ...]
    """Red, green and blue of each of them, for an image."""

    @classmethod
    def read(cls, text: str) -> tuple[int, Look]:
        """The plot and the look of a message. Raises ValueError for what no page of ours sends."""
        try:
            given = json.loads(text)
            colors = bytes.fromhex(given["rgb"])
            look = cls(
                ask=int(given["ask"]),
                x=_span(given["x"], given["log"][0]),
                y=_span(given["y"], given["log"][1]),
                width=min(max(int(given["size"][0]), 1), _MOST_PIXELS),
                height=min(max(int(given["size"][1]), 1), _MOST_PIXELS),
                value=None if given["value"] is None else float(given["value"]),
                slots=None if given["slots"] is None else tuple(map(int, given["slots"])),
                colors=tuple(tuple(colors[at : at + 3]) for at in range(0, len(colors), 3)),
            )
            return int(given["plot"]), look
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"found no look in {text[:80]!r}: {error!r}") from None


def _span(given: Sequence[Any], log: Any) -> lod.Span:
    low, high = map(float, given)
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (log and low <= 0):
        raise ValueError(f"found the window {low} to {high}")
    return lod.Span(low, high, bool(log))


def answer(plot: int, look: Look, shown: Shown, there: Snapshot) -> bytes:
    """The frame that answers a look at what there is."""
    rows = [part for part in (_only(part, look.slots) for part in there.rows) if len(part.slots)]
    if shown.thins == "extremes":
        pieces = _lines(look, rows, there.smooth)
        window = [look.x.low, look.x.high, -np.inf, np.inf]
    else:
        found = [_within(look, part, bool(shown.sliders)) for part in rows]
        window = [look.x.low, look.x.high, look.y.low, look.y.high]
        total = sum(len(at) for _, at in found)
        if total > DETAIL_POINTS and shown.thins == "density":
            return _density(plot, look, rows, found, window)
        pieces = [_chosen(*each, -(-total // DETAIL_POINTS)) for each in zip(rows, found, strict=True)]
    origin = [*map(_origin, (look.x, look.y)), *there.origin[2:]]
    points = packed.joined(pieces, len(origin) + bool(there.smooth))
    asked = np.array([look.ask, points.exact], "<u4")
    return encode(Op.DETAIL, plot, asked, np.array(window), *packed.arrays(points, there, origin))


def _origin(span: lod.Span) -> float:
    return packed.origin_of(span.low, span.high)


def _only(rows: Rows, wanted: Sequence[int] | None) -> Rows:
    """Without the slots that do not show."""
    if wanted is None:
        return rows
    chosen = np.isin(rows.slots, np.array(wanted, "i8"))
    if chosen.all():
        return rows
    columns = tuple(values if len(values) == 1 else values[chosen] for values in rows.columns)
    return rows._replace(slots=rows.slots[chosen], columns=columns)


def _lines(look: Look, rows: Sequence[Rows], smooth: float) -> list[Points]:
    series = sum(len(part.slots) for part in rows)
    most = min(max(DETAIL_POINTS // max(series, 1), packed.LEAST_POINTS), packed.RAW_POINTS)
    return packed.lines(rows, lod.Window(look.x, min(_POINTS_PER_PIXEL * look.width, most), most), smooth)


def _within(look: Look, rows: Rows, has_slider: bool) -> tuple[Array, Array]:
    """(row, place) of the points within the window, with the slider's value."""
    x, y = rows.columns[:2]
    inside = lod.Area(look.x, look.y).inside(x, y)
    if has_slider and look.value is not None:
        value = rows.columns[-1]
        inside = inside & ((value == look.value) | np.isnan(value))
    inside = np.broadcast_to(inside, (len(rows.slots), x.shape[1]))
    row, at = np.nonzero(inside)
    return row, at


def _chosen(rows: Rows, found: tuple[Array, Array], every: int) -> Points:
    row, at = (places[::every] for places in found) if every > 1 else found
    counts = np.bincount(row, minlength=len(rows.slots))
    return packed.picked(rows, lod.Picks(counts, at, exact=every == 1))


def _density(
    plot: int, look: Look, rows: Sequence[Rows], found: Sequence[tuple[Array, Array]], window: Sequence[float]
) -> bytes:
    width, height = (-(-pixels // _PIXELS_PER_CELL) for pixels in (look.width, look.height))
    image = lod.density(_by_color(look, rows, found), lod.Area(look.x, look.y), width, height)
    head = (np.array([look.ask], "<u4"), np.array(window), np.array([width, height], "<u4"))
    return encode(Op.DENSITY, plot, *head, image.reshape(-1))


def _by_color(
    look: Look, rows: Sequence[Rows], found: Sequence[tuple[Array, Array]]
) -> Iterable[tuple[Sequence[int], Iterator[tuple[Array, Array]]]]:
    shown = range(len(look.colors)) if look.slots is None else look.slots
    colors = dict(zip(shown, look.colors, strict=False))
    groups: dict[tuple[int, ...], list[tuple[Array, Array]]] = {}
    for part, (row, at) in zip(rows, found, strict=True):
        x, y = (values[row if len(values) > 1 else 0, at] for values in part.columns[:2])
        inks = [colors.get(slot, _UNKNOWN) for slot in part.slots.tolist()]
        distinct = list(dict.fromkeys(inks))
        number = np.array([distinct.index(ink) for ink in inks])[row]
        for which, ink in enumerate(distinct):
            mine = number == which if len(distinct) > 1 else slice(None)
            groups.setdefault(ink, []).append((x[mine], y[mine]))
    return ((ink, iter(points)) for ink, points in groups.items())


_UNKNOWN = (128, 128, 128)
