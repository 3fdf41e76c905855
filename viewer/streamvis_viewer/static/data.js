// What one plot knows of its series: applies the frames of the data websocket to the layer that draws them.

import {Op, noteOf} from "./frames.js";
import {LABEL, VALUES} from "./rows.js";

export class PlotData {
  rows = []; // per slot; null where a topic was deleted
  sliders = []; // columns
  points = 0;
  changed = true; // rows or colours, since somebody set it false
  onvalues = () => {}; // (slider, values): values of that slider's column that occur; null: those before count no more

  #layer;
  #counts = [];
  #rgba = new Uint8Array(0);
  #masked = false;

  constructor(layer) {
    this.#layer = layer;
  }

  get backend() {
    return this.#layer.backend;
  }

  label(slot) {
    return this.rows[slot]?.[LABEL];
  }

  color(slot) {
    const [r, g, b] = this.#rgba.subarray(4 * slot, 4 * slot + 3);
    return `rgb(${r} ${g} ${b})`;
  }

  apply(op, arrays) {
    APPLY[op].call(this, ...arrays);
  }

  /** After a batch of frames. */
  refresh() {
    this.points = this.#counts.reduce((sum, count) => sum + count, 0);
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
  }

  /** Shows the points with this value of the first slider's column; null: all. */
  select(value) {
    this.#layer.select(value);
  }

  /** The extent of what is shown, or null. */
  bounds() {
    return this.#layer.bounds();
  }

  /** Four bytes per slot, instead of the colours that the server gave. Nothing happens amid a batch that brings slots: refresh() is to come. */
  recolor(rgba) {
    if (rgba.length !== this.#rgba.length) return;
    this.#layer.setColors(rgba);
    this.#rgba = rgba;
  }

  nearest(sx, sy) {
    return this.#layer.nearest(sx, sy);
  }

  _note(...arrays) {
    const {start, series} = noteOf(arrays);
    this.rows = this.rows.slice(0, start).concat(series);
    for (const row of series) row?.[VALUES].forEach((value, i) => this.onvalues(i + 1, [value]));
    this.changed = true;
  }

  _replace(origin, counts, rgba, x, y, t) {
    this.#layer.replace({origin: {x: origin[0], y: origin[1]}, counts, x, y, rgba, t});
    this.#counts = [...counts];
    this.#rgba = rgba.slice();
    this.onvalues(0, null);
    if (t) this.onvalues(0, t);
    this.changed = true;
  }

  _append(slots, counts, x, y, t) {
    this.#layer.append({slots, counts, x, y, t});
    slots.forEach((slot, i) => (this.#counts[slot] += counts[i]));
    if (t) this.onvalues(0, t);
  }

  _add(rgba) {
    this.#layer.addSeries(rgba);
    this.#counts = this.#counts.concat(new Array(rgba.length / 4).fill(0));
    const all = new Uint8Array(this.#rgba.length + rgba.length);
    all.set(this.#rgba);
    all.set(rgba, this.#rgba.length);
    this.#rgba = all;
    this.changed = true;
  }

  _clear(slots) {
    this.#layer.clearSeries(slots);
    for (const slot of slots) {
      this.#counts[slot] = 0;
      this.rows[slot] = null;
    }
    this.changed = true;
  }

  _colors(rgba) {
    this.#layer.setColors(rgba);
    this.#rgba = rgba.slice();
    this.changed = true;
  }
}

const APPLY = {
  [Op.NOTE]: PlotData.prototype._note,
  [Op.REPLACE]: PlotData.prototype._replace,
  [Op.APPEND]: PlotData.prototype._append,
  [Op.ADD]: PlotData.prototype._add,
  [Op.CLEAR]: PlotData.prototype._clear,
  [Op.COLORS]: PlotData.prototype._colors,
};
