// LineLayer and PointLayer: Bokeh renderers that draw packed series. A thin shell: the points are in series.js, where they go on
// screen in axis.js, what draws them in canvas.js, raster.js and gl.js. Import after Bokeh's scripts and before it embeds anything.
//
// Without WebGL, an exact picture of many points takes longer than a frame. Then a picture that has changed is drawn by raster.js,
// and once more, exactly, when nothing has changed for a while. Exports are always exact.

import {isUsable, placement} from "./axis.js";
import {countPoints, isRaster, paintLines, paintPoints} from "./canvas.js";
import {LinePainter, PointPainter, sharedContext, watchers} from "./gl.js";
import {Sheet, rasterLines, rasterPoints} from "./raster.js";
import {PackedSeries} from "./series.js";

const FEW_POINTS = 5_000; // up to so many, an exact paint that took long was only interrupted
const MANY_POINTS = 150_000; // beyond so many, it takes long whatever the last one took
const SLOW_MS = 40;
const REST_MS = 250;
const REST_PER_PAINT = 2; // the exact picture of a busy plot shall not take most of the time

/** The live layers of this page, by plot key. */
export const layers = new Map();

const {DataRenderer, DataRendererView} = Bokeh.require("models/renderers/data_renderer");

/** Decides when a picture is drawn by raster.js, and asks for the exact one when it has rested. */
class Haste {
  exact_ms = 0; // what the last exact picture took
  #request;
  #picture = [];
  #exact = true; // what this picture is drawn by
  #timer = 0;
  #idle = 0;

  constructor(request) {
    this.#request = request;
  }

  /** Whether to draw this picture, of so many points, quickly: it has changed, and an exact one would take long. */
  isDue(picture, points) {
    if (picture.every((value, i) => value === this.#picture[i])) return !this.#exact;
    this.cancel();
    this.#picture = picture;
    this.#exact = points <= MANY_POINTS && (points <= FEW_POINTS || this.exact_ms <= SLOW_MS);
    if (!this.#exact) this.#timer = setTimeout(() => this.#await(), Math.max(REST_MS, REST_PER_PAINT * this.exact_ms));
    return !this.#exact;
  }

  cancel() {
    clearTimeout(this.#timer);
    window.cancelIdleCallback?.(this.#idle);
  }

  #await() {
    const finish = () => {
      this.#exact = true;
      this.#request();
    };
    if (window.requestIdleCallback) this.#idle = requestIdleCallback(finish);
    else finish(); // Safari has none
  }
}

/** What the page talks to: the series of one plot. Every method that changes something repaints. */
class Layer {
  #view;
  #series = new PackedSeries();
  #painter;
  #paints = 0;
  #points = 0;
  #paint_ms = 0;
  #painted = "exact";
  #sheet = null;
  #edits = 0; // counts the changes of what is drawn
  #haste = new Haste(() => this.#view.request_paint());
  #repaint = () => this.repaint();

  constructor(view, painter) {
    this.#view = view;
    this.#painter = painter;
    watchers.add(this.#repaint);
  }

  get model() {
    return this.#view.model;
  }

  get plot_view() {
    return this.#view.plot_view;
  }

  get backend() {
    return sharedContext() ? "webgl" : "canvas";
  }

  get stats() {
    return {backend: this.backend, paints: this.#paints, points: this.#points, paint_ms: this.#paint_ms, painted: this.#painted};
  }

  get origin() {
    return this.#series.origin;
  }

  get count() {
    return this.#series.count;
  }

  replace(points) {
    this.#series.replace(points);
    this.#changed();
  }

  append(points) {
    this.#series.append(points);
    this.#changed();
  }

  addSeries(rgba) {
    this.#series.addSeries(rgba);
    this.#changed();
  }

  clearSeries(slots) {
    this.#series.clearSeries(slots);
    this.#changed();
  }

  setColors(rgba) {
    this.#series.setColors(rgba);
    this.#repaint();
  }

  setVisible(slots, visible) {
    this.#series.setVisible(slots, visible);
    this.#changed();
  }

  select(value) {
    this.#series.select(value);
    this.#changed();
  }

  /** What is drawn has changed, be it only its style. */
  repaint() {
    this.#edits++;
    this.#view.request_paint();
  }

  bounds() {
    const {x_scale, y_scale} = this.#view.coordinates;
    return this.#series.bounds(x_scale.type === "LogScale", y_scale.type === "LogScale");
  }

  nearest(sx, sy) {
    const plot = this.#plot();
    return plot && this.#series.nearest(sx, sy, plot, plot.frame);
  }

  paint(ctx) {
    const plot = this.#plot();
    if (!plot) return;
    const began = performance.now();
    const {pen: style} = this.#view;
    const context = isRaster(ctx) ? sharedContext() : null;
    const hasty = !context && this.#isLiveCanvas(ctx) && this.#haste.isDue(this.#picture(plot), countPoints(this.#series));
    if (context) this.#points = this.#painter.paint(context, ctx, plot, style);
    else if (hasty) this.#points = this.#view.paint_raster((this.#sheet ??= new Sheet()), ctx, plot, style);
    else this.#points = this.#view.paint_canvas(ctx, plot, style);
    this.#paint_ms = performance.now() - began;
    this.#painted = hasty ? "raster" : "exact";
    if (!hasty) this.#haste.exact_ms = this.#paint_ms;
    this.#paints++;
  }

  release() {
    this.#haste.cancel();
    watchers.delete(this.#repaint);
    this.#painter.release();
  }

  // null where the axes show nothing (a window without extent): painting must never throw, for that would wedge the plot
  #plot() {
    const {x_scale, y_scale} = this.#view.coordinates;
    const {bbox: frame} = this.plot_view.frame;
    const x = placement(x_scale, this.origin.x, (frame.left + frame.right) / 2);
    const y = placement(y_scale, this.origin.y, (frame.top + frame.bottom) / 2);
    return isUsable(x) && isUsable(y) ? {series: this.#series, x, y, frame} : null;
  }

  // not that of an export, nor of SVG
  #isLiveCanvas(ctx) {
    return ctx === this.plot_view.canvas_view.primary.ctx && isRaster(ctx);
  }

  #picture({x, y, frame}) {
    return [this.#edits, x.a, x.b, y.a, y.b, frame.width, frame.height];
  }

  #changed() {
    this.plot_view.invalidate_dataranges = true;
    this.#repaint();
  }
}

class LayerView extends DataRendererView {
  initialize() {
    super.initialize();
    this.live = new Layer(this, this.make_painter());
    layers.set(this.model.key, this.live);
  }

  connect_signals() {
    super.connect_signals();
    this.connect(this.model.change, () => this.live.repaint());
  }

  remove() {
    if (layers.get(this.model.key) === this.live) layers.delete(this.model.key);
    this.live.release();
    super.remove();
  }

  _paint(ctx) {
    this.live.paint(ctx);
  }

  bounds() {
    return this.live.bounds() ?? {x0: NaN, x1: NaN, y0: NaN, y1: NaN};
  }

  log_bounds() {
    return this.bounds();
  }

  hit_test() {
    return null;
  }
}

class LineLayerView extends LayerView {
  get pen() {
    const {line_width, alpha} = this.model;
    return {width: line_width, alpha};
  }

  make_painter() {
    return new LinePainter();
  }

  paint_canvas(ctx, plot, style) {
    return paintLines(ctx, plot, style);
  }

  paint_raster(sheet, ctx, plot, style) {
    return rasterLines(sheet, ctx, plot, style);
  }
}

class PointLayerView extends LayerView {
  get pen() {
    const {marker, size, alpha} = this.model;
    return {marker, size, alpha};
  }

  make_painter() {
    return new PointPainter();
  }

  paint_canvas(ctx, plot, style) {
    return paintPoints(ctx, plot, style);
  }

  paint_raster(sheet, ctx, plot, style) {
    return rasterPoints(sheet, ctx, plot, style);
  }
}

const {SelectionManager} = Bokeh.require("core/selection_manager");
const {ColumnDataSource} = Bokeh.require("models/sources/column_data_source");

class SeriesLayer extends DataRenderer {
  // Bokeh's own tools ask every data renderer; the layers select nothing.
  get_selection_manager() {
    return (this.no_selection ??= new ColumnDataSource().selection_manager);
  }
}

class LineLayer extends SeriesLayer {
  static __module__ = "streamvis_viewer.layers";
  static __name__ = "LineLayer";

  static {
    this.prototype.default_view = LineLayerView;
    this.define(({Str, Float, Percent}) => ({key: [Str, ""], line_width: [Float, 1], alpha: [Percent, 1]}));
  }
}

class PointLayer extends SeriesLayer {
  static __module__ = "streamvis_viewer.layers";
  static __name__ = "PointLayer";

  static {
    this.prototype.default_view = PointLayerView;
    this.define(({Str, Float, Percent, Enum}) => ({
      key: [Str, ""],
      size: [Float, 4],
      marker: [Enum("circle", "square", "triangle"), "circle"],
      alpha: [Percent, 1],
    }));
  }
}

Bokeh.require("base").register_models([LineLayer, PointLayer]);
