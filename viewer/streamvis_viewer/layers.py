"""The drawing layers as Bokeh models: all series of one plot in one renderer.

Their JavaScript is ``static/layers.js``. The points never pass through Bokeh's document: the page feeds them to the
live layer with the same `key`.
"""

from bokeh.core.properties import Enum, Float, Percent, String
from bokeh.models.renderers import DataRenderer


class LineLayer(DataRenderer):
    """Polylines; NaN breaks a line, and a point between two gaps is a dot."""

    key = String("", help="The plot's key in the page's map of live layers.")
    line_width = Float(1.0, help="In CSS pixels.")
    alpha = Percent(1.0, help="Multiplies the alpha of every series' colour.")


class PointLayer(DataRenderer):
    """Markers of one shape and size."""

    key = String("", help="The plot's key in the page's map of live layers.")
    size = Float(4.0, help="The marker's diameter in CSS pixels.")
    marker = Enum("circle", "square", "triangle", default="circle")
    alpha = Percent(1.0, help="Multiplies the alpha of every series' colour.")
