// Feeds renderers of Bokeh's own glyphs as if they were layers: stock.py describes the columns that each kind of feed fills.
// All rows are made anew after every change, which suits some ten thousand points; the layers are for more.

const FEED = "streamvis";

/** The series of one plot, drawn by a stock glyph. Has the methods of a layer that data.js calls. */
class StockLayer {
  backend = "canvas";
  selected = null;
  plot_view;

  #source;
  #rows;
  #cells;
  #slots = []; // {x, y, rest, t}: growing arrays of numbers
  #origin = {x: 0, y: 0};
  #rgba = new Uint8Array(0);
  #visible = [];
  #due = 0;

  constructor(plot_view, renderer) {
    const [, , feed, ...more] = renderer.tags;
    this.plot_view = plot_view;
    this.#source = renderer.data_source;
    this.#cells = feed === "cells";
    this.#rows = series => FEEDS[feed](series, ...more);
  }

  get model() {
    return this.plot_view.model;
  }

  get count() {
    return this.#slots.length;
  }

  replace({origin, counts, x, y, rest = [], t, rgba}) {
    this.#origin = origin;
    this.#slots = Array.from(counts, () => empty(rest.length));
    this.#visible = Array(counts.length).fill(true);
    this.#rgba = rgba;
    this.#put(counts.keys(), counts, x, y, rest, t);
  }

  append({slots, counts, x, y, rest = [], t}) {
    this.#put(slots, counts, x, y, rest, t);
  }

  addSeries(rgba) {
    for (let i = 0; i < rgba.length / 4; i++) {
      this.#slots.push(empty(0));
      this.#visible.push(true);
    }
    this.#rgba = Uint8Array.of(...this.#rgba, ...rgba);
  }

  clearSeries(slots) {
    for (const slot of slots) this.#slots[slot] = empty(0);
    this.#changed();
  }

  setColors(rgba) {
    this.#rgba = rgba;
    this.#changed();
  }

  setVisible(slots, visible) {
    for (const slot of slots) this.#visible[slot] = visible;
    this.#changed();
  }

  select(value) {
    this.selected = value;
    this.#changed();
  }

  bounds() {
    const box = {x0: Infinity, x1: -Infinity, y0: Infinity, y1: -Infinity};
    for (const {x, y} of this.#shown()) {
      for (let i = 0; i < x.length; i++) {
        if (!Number.isFinite(x[i]) || !Number.isFinite(y[i]) || (this.#isLog("x") && !(x[i] > 0)) || (this.#isLog("y") && !(y[i] > 0))) continue;
        box.x0 = Math.min(box.x0, x[i]);
        box.x1 = Math.max(box.x1, x[i]);
        box.y0 = Math.min(box.y0, y[i]);
        box.y1 = Math.max(box.y1, y[i]);
      }
    }
    return box.x0 <= box.x1 ? this.#around(box) : null;
  }

  /** Cells reach beyond the points in their middles. */
  #around(box) {
    if (!this.#cells) return box;
    for (const side of ["x", "y"]) {
      const of = edges(this.#shown().flatMap(series => series[side]));
      const [low, high] = [of.get(box[`${side}0`])[0], of.get(box[`${side}1`])[1]];
      if (low > 0 || !this.#isLog(side)) box[`${side}0`] = low;
      box[`${side}1`] = high;
    }
    return box;
  }

  held(slot) {
    return this.#slots[slot];
  }

  nearest(sx, sy) {
    const {x_scale, y_scale, bbox} = this.plot_view.frame;
    let best = null;
    for (const {slot, x, y} of this.#shown()) {
      for (let i = 0; i < x.length; i++) {
        const [px, py] = [x_scale.compute(x[i]), y_scale.compute(y[i])];
        const distance_px = Math.hypot(px - sx, py - sy);
        if (bbox.contains(px, py) && !(distance_px >= best?.distance_px)) best = {slot, i, x: x[i], y: y[i], distance_px};
      }
    }
    return best;
  }

  #isLog(side) {
    return this.model[`${side}_scale`].type === "LogScale";
  }

  /** The series that are to be drawn, with the points of the selected value alone. */
  #shown() {
    const shown = [];
    this.#slots.forEach((series, slot) => {
      if (!this.#visible[slot] || !series.x.length) return;
      const keep = this.selected === null || !series.t.length ? null : series.t.map(t => t === this.selected || Number.isNaN(t));
      const picked = values => (keep ? values.filter((_, i) => keep[i]) : values);
      const [r, g, b, a] = this.#rgba.subarray(4 * slot);
      const color = `rgba(${r}, ${g}, ${b}, ${a / 255})`;
      shown.push({slot, color, x: picked(series.x), y: picked(series.y), rest: series.rest.map(picked)});
    });
    return shown;
  }

  #put(slots, counts, x, y, rest, t) {
    const {t: since = 0} = this.#origin;
    let from = 0;
    let place = 0;
    for (const slot of slots) {
      const series = this.#slots[slot];
      const until = from + counts[place++];
      while (series.rest.length < rest.length) series.rest.push([]);
      for (let i = from; i < until; i++) {
        series.x.push(x[i] + this.#origin.x);
        series.y.push(y[i] + this.#origin.y);
        rest.forEach((values, k) => series.rest[k].push(values[i]));
        if (t) series.t.push(t[i] + since);
      }
      from = until;
    }
    this.#changed();
  }

  /** Fills the data source once, however many changes a batch of frames brings. */
  #changed() {
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      this.#source.data = this.#rows(this.#shown());
    });
  }
}

const empty = rest => ({x: [], y: [], rest: Array.from({length: rest}, () => []), t: []});

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

  steps: (series, mode) => FEEDS.lines(series.map(each => ({...each, ...stairs(each, mode)}))),

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
