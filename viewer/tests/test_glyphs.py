"""The kinds of drawing that the viewer brings, each as a plugin's would be tested."""

from __future__ import annotations

from streamvis_viewer.testing import GlyphContract


class TestLine(GlyphContract):
    """All series in one layer."""

    kind = "line"


class TestScatter(GlyphContract):
    """All points in one layer."""

    kind = "scatter"


class TestStep(GlyphContract):
    """A stock MultiLine."""

    kind = "step"


class TestHeatmap(GlyphContract):
    """A stock Quad, with a colour bar."""

    kind = "heatmap"
