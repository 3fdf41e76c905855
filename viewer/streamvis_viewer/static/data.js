// What one plot knows of its series: applies the frames of the data websocket to the layer that draws them, and asks for a closer
// look where that would show more.

import {Op, noteOf} from "./frames.js";
import {Looks} from "./looks.js";
import {LABEL, VALUES} from "./rows.js";

const NO_STYLE = {width: 1, dash: 0, marker: 0};
const PLAIN = {further: 0, sliders: [], smoothed: 0, budget: 0, thins: "sample"};

export class PlotData {
  rows = []; // per slot; null where a topic was deleted
  sliders = []; // columns
  points = 0; // of all series, be they here or not
  changed = true; // rows, since somebody set it false
  onvalues = () => {}; // (slider, values): values of that slider's column that occur; null: those before count no more
  onlook = () => {}; // (look): to be sent to the server

  #layer;
  #layout = PLAIN;
  #written = []; // points of each series
  #weight = 0;
  #value = null;
  #masked = false;
  #styled = false; // whether any series has a style of its own
  #origin = [];
  #looks;

  constructor(layer) {
    this.#layer = layer;
    this.#looks = new Looks(layer, look => this.onlook(look));
  }

  get backend() {
    return this.#layer.backend;
  }

  /** Whether the browser holds fewer points than there are. */
  get thinned() {
    return this.#layout.budget > 0;
  }

  /** How many points the browser holds. */
  get kept() {
    return this.#written.reduce((sum, count) => sum + count, 0);
  }

  label(slot) {
    return this.rows[slot]?.[LABEL];
  }

  apply(op, arrays) {
    APPLY[op].call(this, ...arrays);
  }

  /** After a batch of frames. */
  refresh() {
    if (!this.thinned) this.points = this.kept;
    this.#looks.refresh();
  }

  /** Four bytes of colour for each slot. Nothing happens amid a batch that brings slots: refresh() is to come. */
  recolor(rgba) {
    if (rgba.length !== 4 * this.#written.length) return;
    this.#layer.setColors(rgba);
    this.#looks.recolored(rgba);
  }

  /** What a series' style can change here: "line", "point", or nothing. */
  get shape() {
    return this.#layer.shape ?? "";
  }

  /** Of each series: what multiplies the plot's width or size, and the numbers of its dash and its marker, as in series.js. */
  restyle(styleOf) {
    const groups = new Map();
    this.rows.forEach((row, slot) => {
      const style = (row && styleOf(row)) ?? NO_STYLE;
      const key = JSON.stringify(style);
      if (!groups.has(key)) groups.set(key, {style, slots: []});
      groups.get(key).slots.push(slot);
    });
    const plain = groups.size === 0 || (groups.size === 1 && groups.has(JSON.stringify(NO_STYLE)));
    if (plain && !this.#styled) return;
    this.#styled = !plain;
    for (const {style, slots} of groups.values()) this.#layer.setStyle?.(slots, style);
  }

  /** Shows the series whose row passes, hides the others. */
  mask(isShown) {
    const shown = [];
    const masked = [];
    this.rows.forEach((row, slot) => (row && isShown(row) ? shown : masked).push(slot));
    if (masked.length || this.#masked) {
      this.#layer.setVisible(Uint32Array.from(shown), true);
      this.#layer.setVisible(Uint32Array.from(masked), false);
    }
    this.#masked = masked.length > 0;
    this.#looks.masked(this.#masked ? shown : null);
  }

  /** Shows the points with this value of the first slider's column, and those without one; null: all. */
  select(value) {
    this.#value = value;
    this.#layer.select(value);
    this.#looks.selected(value);
  }

  /** Draws each line's moving average, beside a ghost of the line; what came before counts by `weight`, 0: the lines alone. */
  smooth(weight) {
    this.#weight = weight;
    if (!this.thinned || weight === 0) this.#layer.setSmoothing?.(weight); // else the server smooths, before it thins
  }

  /** The extent of what is shown, or null. "robust": without the lowest and highest hundredth. */
  bounds(fit = "all") {
    return this.#layer.bounds(fit);
  }

  nearest(sx, sy) {
    return this.#layer.nearest(sx, sy);
  }

  /** The points of a series that the browser holds, as {x, y, rest: further columns}. */
  held(slot) {
    return this.#layer.held(slot);
  }

  /** How many points only a linear axis could show. */
  get unplaced() {
    return this.#layer.unplaced?.() ?? 0;
  }

  _note(...arrays) {
    const {layout, points, start, series} = noteOf(arrays);
    if (layout) {
      this.#layout = layout;
      this.sliders = layout.sliders;
    }
    if (points !== undefined) this.points = points;
    if (series) this.#name(start, series);
  }

  #name(start, series) {
    for (const row of series) {
      if (row) row[VALUES] = row[VALUES].map(value => value ?? NaN);
      row?.[VALUES].forEach((value, i) => Number.isNaN(value) || this.onvalues(i + 1, [value]));
    }
    this.rows = this.rows.slice(0, start).concat(series);
    const more = this.rows.length - this.#written.length;
    if (more > 0) {
      this.#layer.addSeries(new Uint8Array(4 * more));
      this.#written = this.#written.concat(new Array(more).fill(0));
    }
    this.changed = true;
  }

  _replace(origin, counts, ...columns) {
    const {budget, thins, smoothed} = this.#layout;
    const written = smoothed ? columns.pop() : counts;
    const points = this.#points(origin, columns);
    if (smoothed) points.smoothed = {values: columns.at(-1), weight: smoothed, written};
    else this.#layer.setSmoothing?.(budget ? 0 : this.#weight);
    this.#layer.replace({...points, counts, rgba: new Uint8Array(4 * counts.length)}, {budget, thins, total: this.points});
    this.#written = [...counts];
    this.#origin = origin;
    this.#masked = this.#styled = false;
    this.rows = [];
    this.onvalues(0, null);
    this.#offer(points.t);
    this.#looks.reset(this.thinned, thins === "density");
    this.changed = true;
  }

  _append(slots, counts, ...columns) {
    const points = this.#points(this.#origin, columns);
    this.#layer.append({...points, slots, counts});
    slots.forEach((slot, i) => (this.#written[slot] += counts[i]));
    this.#offer(points.t);
  }

  _clear(slots) {
    this.#layer.clearSeries(slots);
    for (const slot of slots) {
      this.#written[slot] = 0;
      this.rows[slot] = null;
    }
    this.changed = true;
  }

  _detail([ask, exact], [x0, x1, y0, y1], origin, counts, ...columns) {
    const about = this.#looks.answered(ask);
    if (!about) return;
    const {smoothed} = this.#layout;
    const written = smoothed ? columns.pop() : null;
    const points = this.#points(origin, columns);
    if (smoothed) points.smoothed = {values: columns.at(-1), weight: smoothed, written};
    const view = {...about.view, x: [x0, x1], y: [y0, y1]};
    this.#layer.setDetail?.({...points, counts}, {...about, view, exact: exact > 0});
  }

  _density([ask], [x0, x1, y0, y1], [width, height], rgba) {
    const about = this.#looks.answered(ask);
    if (about) this.#layer.setDensity?.({width, height, rgba}, {...about, view: {...about.view, x: [x0, x1], y: [y0, y1]}});
  }

  /** The columns of a frame by their names. */
  #points(origin, columns) {
    const {further, sliders} = this.#layout;
    const last = 2 + further;
    return {
      origin: {x: origin[0], y: origin[1], t: sliders.length ? origin[last] : 0},
      x: columns[0],
      y: columns[1],
      rest: columns.slice(2, last),
      t: sliders.length ? columns[last] : undefined,
    };
  }

  #offer(t) {
    if (!t) return;
    const from = this.#origin[2 + this.#layout.further];
    this.onvalues(0, from ? Float64Array.from(t, value => value + from) : t);
  }
}

const APPLY = {
  [Op.NOTE]: PlotData.prototype._note,
  [Op.REPLACE]: PlotData.prototype._replace,
  [Op.APPEND]: PlotData.prototype._append,
  [Op.CLEAR]: PlotData.prototype._clear,
  [Op.DETAIL]: PlotData.prototype._detail,
  [Op.DENSITY]: PlotData.prototype._density,
};
