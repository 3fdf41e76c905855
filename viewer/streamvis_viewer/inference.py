"""The schema where nobody has written one: what the names and columns that were logged suggest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from streamvis import Topic
from streamvis_viewer import patterns
from streamvis_viewer.schema import Color, FilterOpts, Plot, Schema

_HORIZONTAL = ("step", "x", "epoch", "time", "t")
_VERTICAL = ("value", "y")

_SHAPES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("scatter", ("x", "y"), "t"),
    ("line", ("value", "count"), "step"),  # from here on what the integrations log: a histogram,
    ("heatmap", ("x", "y", "value"), "step"),  # an image,
    ("heatmap", ("x", "y", "green"), "step"),  # one in colours, of which green is nearest to what is seen,
    ("line", ("second", "value"), "step"),  # a sound
)
"""What has many points for each value of a slider: the kind, the columns drawn, the slider's. The first that fits."""


class InferredPlot(Plot):
    """A plot that nobody has written. It ignores every other column, so that one which comes later changes nothing."""

    @property
    def splits(self) -> bool:
        """Never."""
        return False


def infer(topics: Iterable[Topic]) -> Schema:
    """A plot for each name that was logged: those of _SHAPES with a slider, such as a cloud; anything else a line."""
    shapes: dict[str, tuple[str, ...]] = {}
    for topic in topics:
        shapes.setdefault(topic.name, topic.columns)
    plots: dict[str, Plot] = {}
    for name in sorted(shapes):
        if len(shapes[name]) >= 2:
            plots[_plot_name(name, plots)] = _inferred(name, shapes[name])
    return Schema(plots, "the data")


def _plot_name(name: str, taken: Mapping[str, Plot]) -> str:
    plain = name.replace(",", "_").replace(";", "_").strip() or "_"
    while plain in taken:
        plain += "_"
    return plain


def _inferred(name: str, columns: Sequence[str]) -> Plot:
    kind, drawn, slider = next(
        (shape for shape in _SHAPES if {*shape[1], shape[2]} <= set(columns)), ("line", _line(columns), None)
    )
    return InferredPlot(
        names=patterns.exactly(name),
        glyph_kind=kind,
        columns=list(drawn),
        filter_opts=FilterOpts(column=slider) if slider else None,
        color=Color(key_fun=("s",) if kind == "scatter" else ("s", "i")),
        figure_kwargs={
            "title": {"text": name},
            "xaxis": {"axis_label": drawn[0]},
            "yaxis": {"axis_label": drawn[1]},
        },
    )


def _line(columns: Sequence[str]) -> tuple[str, str]:
    horizontal = next((c for c in _HORIZONTAL if c in columns), columns[0])
    rest = [column for column in columns if column != horizontal]
    return horizontal, next((c for c in _VERTICAL if c in rest), rest[0])
