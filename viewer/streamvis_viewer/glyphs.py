"""Kinds of drawing: what a schema's `glyph_kind` names, filled by the hook `streamvis_glyphs`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from streamvis import plugins
from streamvis_viewer.palettes import SCALE, known_palette

if TYPE_CHECKING:
    from bokeh.models import DataRenderer

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class GlyphOptions(BaseModel):
    """Base of the `glyph_kwargs` of one kind: properties of its renderer. `alpha` is the opacity of every series."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    alpha: Fraction = 1.0


class LineOptions(GlyphOptions):
    """`glyph_kwargs` of `line`; widths are in pixels."""

    line_width: Positive = 1.5


class ScatterOptions(GlyphOptions):
    """`glyph_kwargs` of `scatter`; sizes are in pixels."""

    size: Positive = 4.0
    marker: Literal["circle", "square", "triangle"] = "circle"


class StepOptions(LineOptions):
    """`glyph_kwargs` of `step`: where between two points the value changes."""

    mode: Literal["after", "before", "center"] = "after"


class HeatmapOptions(GlyphOptions):
    """`glyph_kwargs` of `heatmap`; `low` and `high` are the values at the palette's ends, by default the data's."""

    palette: Annotated[str, AfterValidator(known_palette)] = SCALE
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Glyph:
    """A kind of drawing: the options that a schema may give, and the renderer as "module:attribute".

    What that names is called with `key`, the page's name of the plot, and the options as keywords. It returns a Bokeh
    renderer that the page feeds: a layer (`layers.py`), or one of Bokeh's own glyphs (`stock.py`).
    """

    options: type[GlyphOptions]
    renderer: str
    columns: int = 2
    """How many of a plot's columns it draws: horizontal, vertical, and perhaps more."""
    thins: Literal["extremes", "sample", "density"] = "sample"
    """What is drawn of more points than a browser holds: of lines the extremes in each bucket of x; else every so
    manieth point, or of a window with very many an image of their density."""
    single: bool = False
    """Whether it draws but one series at a time: the first of those that are shown."""
    dress: str = ""
    """Adds to the figure what belongs to the renderer, such as a colour bar; "module:attribute" of a function that is
    called with the figure, the renderer, and the look of labels."""

    @property
    def is_quick(self) -> bool:
        """Whether a million points are no burden: one of our layers draws them."""
        return self.renderer.startswith("streamvis_viewer.layers:")

    def build(self, key: str, options: GlyphOptions) -> DataRenderer:
        """The renderer of the plot that the page calls `key`."""
        made: DataRenderer = named(self.renderer)(key=key, **options.model_dump())
        return made


def named(path: str) -> Any:
    """What "module:attribute" names."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


LINE = Glyph(LineOptions, "streamvis_viewer.layers:LineLayer", thins="extremes")
SCATTER = Glyph(ScatterOptions, "streamvis_viewer.layers:PointLayer", thins="density")
STEP = Glyph(StepOptions, "streamvis_viewer.stock:step", thins="extremes")
HEATMAP = Glyph(
    HeatmapOptions,
    "streamvis_viewer.stock:heatmap",
    columns=3,
    single=True,
    dress="streamvis_viewer.stock:color_bar",
)


def registry() -> dict[str, Glyph]:
    """All kinds that installed plugins give, by name."""
    return plugins.default().gather("streamvis_glyphs")
