// LineLayer and PointLayer: Bokeh renderers that draw packed series. A thin shell: the points are in levels.js and series.js, where
// they go on screen in axis.js, what draws them in canvas.js, raster.js and gl.js. Import after Bokeh's scripts and before it embeds anything.
//
// Without WebGL, an exact picture of many points takes longer than a frame. Then a picture that has changed is drawn by raster.js,
// and once more, exactly, when nothing has changed for a while. Exports are always exact.

import {isUsable, placement} from "./axis.js";
import {countPoints, isRaster, paintLines, paintPoints} from "./canvas.js";
import {LinePainter, PointPainter, sharedContext, watchers} from "./gl.js";
import {Levels} from "./levels.js";
import {Sheet, rasterLines, rasterPoints} from "./raster.js";


const FEW_POINTS = 5_000; // up to so many, an exact picture that took long was only interrupted
const MANY_POINTS = 150_000; // beyond so many, it takes long whatever the last one took
const SLOW_MS = 40;
const MS_PER_POINT = 1e-3; // of an exact picture, as long as none was drawn
const REST_MS = 250;
export const GHOST = 0.25; // the opacity of a line beside its moving average
const REST_PER_PAINT = 2; // the exact picture of a busy plot shall not take most of the time

/** The live layers of this page, by plot key. */
export const layers = new Map();

const {DataRenderer, DataRendererView} = Bokeh.require("models/renderers/data_renderer");

/** Decides when a picture is drawn by raster.js, and asks for the exact one when it has rested. */
class Haste {
  #rate = MS_PER_POINT; // of an exact picture
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
    const expected = points * this.#rate;
    this.#exact = points <= MANY_POINTS && (points <= FEW_POINTS || expected <= SLOW_MS);
    if (!this.#exact) this.#timer = setTimeout(() => this.#await(), Math.max(REST_MS, REST_PER_PAINT * expected));
    return !this.#exact;
  }

  /** How long an exact picture of so many points took; one of few says little. */
  note(ms, points) {
    if (points > FEW_POINTS) this.#rate = ms / points;
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

/** What axes show, as levels.js has it; null where they show nothing. */
export function viewOf({x_scale, y_scale}, {width, height}) {
  const [x, y] = [x_scale, y_scale].map(({source_range: {start, end}}) => [Math.min(start, end), Math.max(start, end)]);
  const log = [x_scale, y_scale].map(({type}) => type === "LogScale");
  return x[0] < x[1] && y[0] < y[1] ? {x, y, log, width, height} : null;
}

/** What the page talks to: the series of one plot. Every method that changes something repaints. */
class Layer {
  onpaint = null; // called with the view that was painted, see levels.js

  #view;
  #levels = new Levels();
  #painters = new Map(); // by set of points, and by the column that is drawn along y
  #sheets = new Map(); // likewise
  #paints = 0;
  #points = 0;
  #total = 0;
  #paint_ms = 0;
  #painted = "exact";
  #edits = 0; // counts the changes of what is drawn
  #haste = new Haste(() => this.#view.request_paint());
  #repaint = () => this.repaint();

  constructor(view) {
    this.#view = view;
    watchers.add(this.#repaint);
  }

  get model() {
    return this.#view.model;
  }

  /** What it draws: "line" or "point". */
  get shape() {
    return this.#view.shape;
  }

  get plot_view() {
    return this.#view.plot_view;
  }

  get backend() {
    return sharedContext() ? "webgl" : "canvas";
  }

  get stats() {
    return {
      backend: this.backend,
      paints: this.#paints,
      points: this.#points, // that were painted last
      total: this.#total, // that there were then, in the browser or not
      paint_ms: this.#paint_ms,
      painted: this.#painted,
    };
  }

  get origin() {
    return this.#levels.base.origin;
  }

  get count() {
    return this.#levels.base.count;
  }

  /** All points anew; `level`: {budget, thins, total} where they are not all that there are, see levels.js. */
  replace(points, level) {
    this.#levels.replace(points, level);
    this.#changed();
  }

  append(points) {
    this.#levels.append(points);
    this.#changed();
  }

  addSeries(rgba) {
    this.#levels.addSeries(rgba);
    this.#changed();
  }

  clearSeries(slots) {
    this.#levels.clearSeries(slots);
    this.#changed();
  }

  setColors(rgba) {
    this.#levels.setColors(rgba);
    this.#repaint();
  }

  setStyle(slots, style) {
    this.#levels.setStyle(slots, style);
    this.#repaint();
  }

  setVisible(slots, visible) {
    this.#levels.setVisible(slots, visible);
    this.#changed();
  }

  setSmoothing(weight) {
    this.#levels.smooth(weight);
    this.#changed();
  }

  setDetail(points, about) {
    this.#levels.setDetail(points, about);
    this.#repaint();
  }

  /** `image`: {width, height, rgba}. */
  async setDensity({width, height, rgba}, about) {
    const image = new ImageData(new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.length), width, height);
    this.#levels.setDensity(await createImageBitmap(image), about);
    this.#repaint();
  }

  select(value) {
    this.#levels.select(value);
    this.#changed();
  }

  /** What is drawn has changed, be it only its style. */
  repaint() {
    this.#edits++;
    this.#view.request_paint();
  }

  /** The extent of what is shown; "robust": without what lies far out. */
  bounds(fit = "all") {
    const {x_scale, y_scale} = this.#view.coordinates;
    const logs = [x_scale.type === "LogScale", y_scale.type === "LogScale"];
    return fit === "robust" ? this.#levels.base.robustBounds(...logs) : this.#levels.base.bounds(...logs);
  }

  /** The points of one series, selected or not. */
  held(slot) {
    return this.#levels.base.points(slot);
  }

  /** How many points have no place on the axes only because these are logarithmic. */
  unplaced() {
    const {log} = this.view;
    return this.#levels.base.unplaced(...log);
  }

  nearest(sx, sy) {
    const {view} = this;
    const plot = view && this.#plot(this.#levels.finest(view)?.series ?? this.#levels.base);
    return plot ? plot.series.nearest(sx, sy, plot, plot.frame) : null;
  }

  /** What the axes show; null where they show nothing. */
  get view() {
    return viewOf(this.#view.coordinates, this.plot_view.frame.bbox);
  }

  /** Whether a closer look would show more. */
  get wants() {
    const {view} = this;
    return Boolean(view && this.#levels.wants(view));
  }

  // Painting must never throw, for that would wedge the plot.
  paint(ctx) {
    const {view} = this;
    if (!view) return;
    const began = performance.now();
    const fine = this.#levels.finest(view);
    this.#painted = fine?.image ? this.#paintImage(ctx, fine) : this.#paintSeries(ctx, fine?.series ?? this.#levels.base);
    this.#paint_ms = performance.now() - began;
    this.#total = this.#levels.total;
    this.#paints++;
    this.onpaint?.(view);
  }

  release() {
    this.#haste.cancel();
    watchers.delete(this.#repaint);
    for (const painter of this.#painters.values()) painter.release();
  }

  #paintSeries(ctx, series) {
    const plots = (series.vertical === "s" ? ["y", "s"] : ["y"]).map(vertical => this.#plot(series, vertical));
    if (plots.some(plot => !plot)) return "exact";
    const context = isRaster(ctx) ? sharedContext() : null;
    const live = !context && this.#isLiveCanvas(ctx);
    const began = performance.now();
    const hasty = live && this.#haste.isDue(this.#picture(plots[0]), countPoints(series));
    for (const plot of plots) {
      const style = {...this.#view.pen};
      if (plot.vertical !== series.vertical) style.alpha *= GHOST;
      if (context) this.#points = this.#painter(plot).paint(context, ctx, plot, style);
      else if (hasty) this.#points = this.#view.paint_raster(this.#sheet(plot), ctx, plot, style);
      else this.#points = this.#view.paint_canvas(ctx, plot, style);
    }
    if (hasty) return "raster";
    if (live && this.#points > FEW_POINTS) {
      ctx.getImageData(0, 0, 1, 1); // now the browser draws what it has only noted until here: most of the time it takes
      this.#haste.note(performance.now() - began, this.#points);
    }
    return "exact";
  }

  #painter(plot) {
    return this.#own(this.#painters, plot, () => this.#view.make_painter());
  }

  #sheet(plot) {
    return this.#own(this.#sheets, plot, () => new Sheet());
  }

  #own(made, {series, vertical}, make) {
    const key = `${series === this.#levels.base} ${vertical}`;
    if (!made.has(key)) made.set(key, make());
    return made.get(key);
  }

  #paintImage(ctx, {image, view}) {
    const {x_scale, y_scale} = this.#view.coordinates;
    const edge = position => Math.round(position) - 0.5; // Bokeh's pixels have their centres at whole numbers
    const [left, right] = view.x.map(value => edge(x_scale.compute(value)));
    const [bottom, top] = view.y.map(value => edge(y_scale.compute(value)));
    ctx.save();
    ctx.imageSmoothingEnabled = false;
    ctx.globalAlpha = this.#view.pen.alpha;
    ctx.drawImage(image, left, top, right - left, bottom - top);
    ctx.restore();
    this.#points = 0;
    return "density";
  }

  // null where the axes show nothing (a window without extent)
  #plot(series, vertical = series.vertical) {
    const {x_scale, y_scale} = this.#view.coordinates;
    const {bbox: frame} = this.plot_view.frame;
    const x = placement(x_scale, series.origin.x, (frame.left + frame.right) / 2);
    const y = placement(y_scale, series.origin.y, (frame.top + frame.bottom) / 2);
    return isUsable(x) && isUsable(y) ? {series, vertical, x, y, frame} : null;
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
    this.live = new Layer(this);
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
  get shape() {
    return "line";
  }

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
  get shape() {
    return "point";
  }

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
