"""Kinds of drawing: what a schema's `glyph_kind` names, filled by the hook `streamvis_glyphs`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamvis import plugins

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


@dataclass(frozen=True, slots=True)
class Glyph:
    """A kind of drawing: the options that a schema may give, and the renderer as "module:attribute".

    The renderer is a Bokeh model with a property `key`, whose view is fed by the page: see `layers.py`.
    """

    options: type[GlyphOptions]
    renderer: str
    columns: int = 2
    """How many of a plot's columns it draws: horizontal, vertical, and perhaps more."""
    thins: Literal["extremes", "sample", "density"] = "sample"
    """What is drawn of more points than a browser holds: of lines the extremes in each bucket of x; else every so
    manieth point, or of a window with very many an image of their density."""

    def build(self, key: str, options: GlyphOptions) -> DataRenderer:
        """The renderer of the plot that the page calls `key`."""
        module, _, attribute = self.renderer.partition(":")
        factory = getattr(importlib.import_module(module), attribute)
        made: DataRenderer = factory(key=key, **options.model_dump())
        return made


LINE = Glyph(LineOptions, "streamvis_viewer.layers:LineLayer", thins="extremes")
SCATTER = Glyph(ScatterOptions, "streamvis_viewer.layers:PointLayer", thins="density")


def registry() -> dict[str, Glyph]:
    """All kinds that installed plugins give, by name."""
    return plugins.default().gather("streamvis_glyphs")
