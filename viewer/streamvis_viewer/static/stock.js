// Feeds renderers of Bokeh's own glyphs as if they were layers: stock.py describes the columns that each kind of feed fills.
// All rows are made anew after every change, which suits some ten thousand points; the layers are for more.

import {placement} from "./axis.js";
import {DASH_NAMES} from "./canvas.js";
import {GHOST, viewOf} from "./layers.js";
import {Levels} from "./levels.js";

const FEED = "streamvis";

/** The series of one plot, drawn by a stock glyph. Has the methods of a layer that data.js and looks.js call. */
class StockLayer {
  backend = "canvas";
  plot_view;
  onpaint = null;

  #levels = new Levels();
  #source;
  #cells;
  #styled;
  #rows;
  #drawn = []; // what the data source was made of
  #series = null; // from which that was taken
  #due = 0;

  constructor(plot_view, renderer) {
    const [, , feed, ...more] = renderer.tags;
    this.plot_view = plot_view;
    this.#source = renderer.data_source;
    this.#cells = feed === "cells";
    this.#styled = feed === "steps";
    this.#rows = series => FEEDS[feed](series, ...more);
    plot_view.repainted.connect(() => this.#painted());
  }

  get model() {
    return this.plot_view.model;
  }

  get count() {
    return this.#levels.base.count;
  }

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
  }

  clearSeries(slots) {
    this.#levels.clearSeries(slots);
    this.#changed();
  }

  setColors(rgba) {
    this.#levels.setColors(rgba);
    this.#changed();
  }

  /** What a series' style can change here. */
  get shape() {
    return this.#styled ? "line" : "";
  }

  setStyle(slots, style) {
    this.#levels.setStyle(slots, style);
    this.#changed();
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
    this.#changed();
  }

  select(value) {
    this.#levels.select(value);
    this.#changed();
  }

  bounds(fit = "all") {
    const {base} = this.#levels;
    if (this.#cells) return this.#around(base.bounds(...this.#logs));
    return fit === "robust" ? base.robustBounds(...this.#logs) : base.bounds(...this.#logs);
  }

  /** Cells reach beyond the points in their middles. */
  #around(box) {
    if (!box) return null;
    const {base} = this.#levels;
    const held = Array.from(base.visible.keys()).filter(slot => base.visible[slot]).map(slot => base.points(slot));
    ["x", "y"].forEach((side, i) => {
      const of = edges(held.flatMap(points => Array.from(points[side])));
      const [low, high] = [of.get(box[`${side}0`])[0], of.get(box[`${side}1`])[1]];
      if (low > 0 || !this.#logs[i]) box[`${side}0`] = low;
      box[`${side}1`] = high;
    });
    return box;
  }

  held(slot) {
    return this.#levels.base.points(slot);
  }

  unplaced() {
    return this.#levels.base.unplaced(...this.#logs);
  }

  nearest(sx, sy) {
    const {x_scale, y_scale, bbox} = this.plot_view.frame;
    if (this.#cells) return bbox.contains(sx, sy) ? cellAt(this.#drawn[0], x_scale.invert(sx), y_scale.invert(sy)) : null;
    const series = this.#finest;
    const {x, y} = series.origin;
    return series.nearest(sx, sy, {x: placement(x_scale, x, 0), y: placement(y_scale, y, 0)}, bbox);
  }

  /** What the axes show; null where they show nothing. */
  get view() {
    return viewOf(this.plot_view.frame, this.plot_view.frame.bbox);
  }

  /** Whether a closer look would show more: of lines, for other glyphs are not for that many points. */
  get wants() {
    const {view} = this;
    return Boolean(view && this.#levels.thins === "extremes" && this.#levels.wants(view));
  }

  get #logs() {
    return [this.model.x_scale, this.model.y_scale].map(({type}) => type === "LogScale");
  }

  /** What is to be drawn where the axes stand. */
  get #finest() {
    const {view} = this;
    return (view && this.#levels.finest(view)?.series) ?? this.#levels.base;
  }

  /** The series that are to be drawn, with the points of the selected value alone. */
  #shown({runs, visible, rgba, width, dash, arrays, origin}, vertical, opacity = 1) {
    const shown = new Map();
    for (let r = 0; r < runs.length; r += 3) {
      const [slot, begin, end] = runs.slice(r, r + 3);
      if (!visible[slot]) continue;
      const [red, green, blue, alpha] = rgba.subarray(4 * slot);
      const color = `rgba(${red}, ${green}, ${blue}, ${alpha / 255 * opacity})`;
      if (!shown.has(slot)) shown.set(slot, {slot, color, width: width[slot], dash: DASH_NAMES[dash[slot]], x: [], y: [], rest: []});
      const series = shown.get(slot);
      const take = (into, values, from = 0) => values.subarray(begin, end).forEach(value => into.push(value + from));
      take(series.x, arrays.x, origin.x);
      take(series.y, arrays[vertical], origin.y);
      for (let i = 0; arrays[`rest${i}`]; i++) take((series.rest[i] ??= []), arrays[`rest${i}`]);
    }
    return [...shown.values()];
  }

  /** Fills the data source once, however many changes a batch of frames brings. */
  #changed() {
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      const series = (this.#series = this.#finest);
      const {vertical} = series;
      this.#drawn = this.#shown(series, vertical);
      const ghosts = vertical === "y" ? [] : this.#shown(series, "y", GHOST);
      this.#source.data = this.#rows([...ghosts, ...this.#drawn]);
    });
  }

  /** The window may have left what was drawn, or have come back to it. */
  #painted() {
    if (this.#series && this.#series !== this.#finest) this.#changed();
    this.onpaint?.();
  }
}

const FEEDS = {
  points: series => ({
    x: series.flatMap(({x}) => x),
    y: series.flatMap(({y}) => y),
    z: series.flatMap(({x, rest}) => rest[0] ?? x.map(() => NaN)),
    color: series.flatMap(({x, color}) => x.map(() => color)),
  }),

  lines: series => ({
    xs: series.map(({x}) => x),
    ys: series.map(({y}) => y),
    color: series.map(({color}) => color),
  }),

  steps: (series, mode, width) => ({
    ...FEEDS.lines(series.map(each => ({...each, ...stairs(each, mode)}))),
    width: series.map(each => each.width * width),
    dash: series.map(each => each.dash),
  }),

  cells: series => {
    if (!series.length) return {left: [], right: [], bottom: [], top: [], value: []};
    const {x, y, rest: [value = []]} = series[0];
    const [columns, rows] = [edges(x), edges(y)];
    return {
      left: x.map(at => columns.get(at)[0]), right: x.map(at => columns.get(at)[1]),
      bottom: y.map(at => rows.get(at)[0]), top: y.map(at => rows.get(at)[1]), value,
    };
  },
};

/** A line as a staircase. */
function stairs({x, y}, mode) {
  const stepped = {x: [], y: []};
  const put = (px, py) => {
    stepped.x.push(px);
    stepped.y.push(py);
  };
  for (let i = 0; i < x.length; i++) {
    if (i > 0) {
      const at = mode === "before" ? x[i - 1] : mode === "after" ? x[i] : (x[i - 1] + x[i]) / 2;
      put(at, y[i - 1]);
      put(at, y[i]);
    }
    put(x[i], y[i]);
  }
  return stepped;
}

/** The point in whose cell a place lies, of several the one that is drawn last. */
function cellAt(series, x, y) {
  if (!series) return null;
  const [columns, rows] = [edges(series.x), edges(series.y)];
  const holds = ([low, high], value) => low <= value && value < high;
  const i = series.x.findLastIndex((middle, i) => holds(columns.get(middle), x) && holds(rows.get(series.y[i]), y));
  return i < 0 ? null : {slot: series.slot, x: series.x[i], y: series.y[i], rest: series.rest.map(values => values[i]), distance_px: 0};
}

/** Where the cell of each value begins and ends: halfway to its neighbours. */
function edges(values) {
  const sorted = [...new Set(values)].filter(Number.isFinite).sort((a, b) => a - b);
  const between = sorted.slice(1).map((value, i) => (value + sorted[i]) / 2);
  const first = between.length ? 2 * sorted[0] - between[0] : sorted[0] - 0.5;
  const last = between.length ? 2 * sorted.at(-1) - between.at(-1) : sorted[0] + 0.5;
  const cuts = [first, ...between, last];
  const found = new Map(sorted.map((value, i) => [value, [cuts[i], cuts[i + 1]]]));
  for (const value of values) if (!found.has(value)) found.set(value, [NaN, NaN]);
  return found;
}

/** Layers for all fed renderers that have a view by now; Bokeh makes them one after the other. */
export function adoptStock(layers) {
  for (const document of Bokeh.documents) {
    for (const figure of document.roots()) {
      const plot_view = Bokeh.index.find_one(figure);
      for (const renderer of figure.renderers ?? []) {
        if (renderer.tags[0] !== FEED || layers.has(renderer.tags[1])) continue;
        if (plot_view?.frame?.bbox.width > 0) layers.set(renderer.tags[1], new StockLayer(plot_view, renderer));
      }
    }
  }
}
