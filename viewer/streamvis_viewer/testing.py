"""What a kind of drawing promises, as tests: a plugin's test class derives from `GlyphContract` and names its kind.

Needs pytest.
"""
# ruff: noqa: S101 - a contract suite is made of asserts

from __future__ import annotations

from typing import ClassVar

import pytest
from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document
from bokeh.models import DataRenderer
from pydantic import ValidationError

from streamvis_viewer import figures, glyphs
from streamvis_viewer.glyphs import GlyphOptions
from streamvis_viewer.layout import Cell
from streamvis_viewer.schema import Plot
from streamvis_viewer.stock import FEED, feeds


class GlyphContract:
    """Derive, name the class Test…, and set `kind` to the name that a schema's `glyph_kind` takes."""

    kind: ClassVar[str]

    def plot(self) -> Plot:
        """A plot of this kind without any options."""
        return Plot(glyph_kind=self.kind, columns=["x", "y", "z"])

    def test_a_schema_finds_it(self) -> None:
        """Its plugin is installed, and every option has a default."""
        assert self.kind in glyphs.registry()
        assert isinstance(self.plot().glyph_options, GlyphOptions)

    def test_it_draws_at_least_two_columns(self) -> None:
        """A horizontal and a vertical one."""
        assert self.plot().glyph.columns >= 2

    def test_unknown_options_are_refused(self) -> None:
        """So that a slip of the pen in a schema is an error with its line."""
        with pytest.raises(ValidationError):
            self.plot().glyph.options.model_validate({"no such option": 1})

    def test_every_option_reaches_the_renderer(self) -> None:
        """Its factory takes the plot's key and all options as keywords, and returns one of Bokeh's renderers."""
        renderer = self.plot().glyph.build("p0", self.plot().glyph_options)
        assert isinstance(renderer, DataRenderer)

    def test_the_page_can_feed_it(self) -> None:
        """By the property `key` of a layer, or by the tags of `stock.fed` with one of the known feeds."""
        renderer = self.plot().glyph.build("p0", self.plot().glyph_options)
        if "key" in renderer.properties():
            assert renderer.key == "p0"
        else:
            tag, key, feed, *_ = renderer.tags
            assert (tag, key) == (FEED, "p0")
            assert feed in feeds()

    def test_its_figure_can_be_sent(self) -> None:
        """With what it adds beside the plot."""
        document = Document()
        document.add_root(figures.build(Cell("p0", "plot"), self.plot()))
        document.validate()
        assert serialize_json(document.to_json(deferred=False))
