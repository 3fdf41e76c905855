// One plot of the page: its series, its ranges, its sliders.

import {Op, noteOf} from "./frames.js";
import {Slider} from "./slider.js";

const PADDING = 0.04; // of the extent, on each side

/** A series as the server describes it: [scope, name, index, label, values of further sliders]. */
const LABEL = 3;
const VALUES = 4;

export class Plot {
  series = []; // null where a topic was deleted
  hidden = new Set(); // labels
  following = true; // the ranges show all points, until a person moves them
  changed = true; // the list of runs is out of date
  points = 0;

  #counts = [];
  #rgba = new Uint8Array(0);
  #sliders;
  #masked = false;
  #moved = true;

  constructor(view, cell, {columns, sliders, legend}) {
    this.view = view;
    this.cell = cell;
    this.columns = columns;
    this.legend = legend;
    this.model = view.plot_view.model;
    this.#sliders = [...cell.querySelectorAll(".slider")].map((element, i) => new Slider(element, () => this.#slid(i)));
    this.model.on_event("rangesupdate", () => (this.following = false));
    this.model.on_event("reset", () => {
      this.following = true;
      this.#fit();
    });
  }

  get title() {
    return this.model.title.text;
  }

  label(slot) {
    return this.series[slot]?.[LABEL];
  }

  color(slot) {
    const [r, g, b] = this.#rgba.subarray(4 * slot, 4 * slot + 3);
    return `rgb(${r} ${g} ${b})`;
  }

  apply(op, arrays) {
    APPLY[op].call(this, ...arrays);
    this.#moved = true;
  }

  /** After a batch of frames: sliders, visibility, ranges. */
  refresh() {
    if (!this.#moved) return;
    this.#moved = false;
    for (const slider of this.#sliders) slider.refresh();
    this.mask();
    this.#fit();
    this.points = this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Shows and hides series by their labels and by sliders beyond the first. */
  mask() {
    const shown = [];
    const masked = [];
    this.series.forEach((row, slot) => (this.#isShown(row) ? shown : masked).push(slot));
    if (masked.length || this.#masked) {
      this.view.setVisible(Uint32Array.from(shown), true);
      this.view.setVisible(Uint32Array.from(masked), false);
    }
    this.#masked = masked.length > 0;
  }

  /** Takes over what a person has hidden. */
  hide(labels) {
    this.hidden = labels;
    this.mask();
    this.#fit();
  }

  /** What is said in place of points; `waiting` hides the empty axes as well. */
  say(text, waiting) {
    this.cell.classList.toggle("waiting", waiting);
    const veil = this.cell.querySelector(".veil");
    veil.textContent = text;
    veil.hidden = !text;
  }

  #isShown(row) {
    if (!row || this.hidden.has(row[LABEL])) return false;
    return this.#sliders.slice(1).every((slider, i) => slider.value === null || slider.value === row[VALUES][i]);
  }

  #slid(number) {
    if (number === 0) this.view.select(this.#sliders[0].value);
    else this.mask();
  }

  #fit() {
    if (!this.following) return;
    const bounds = this.view.bounds();
    if (!bounds) return;
    const {x_range, y_range, x_scale, y_scale} = this.model;
    x_range.setv(padded(bounds.x0, bounds.x1, x_scale.type === "LogScale"), {sync: false});
    y_range.setv(padded(bounds.y0, bounds.y1, y_scale.type === "LogScale"), {sync: false});
  }

  _note(...arrays) {
    const {start, series} = noteOf(arrays);
    this.series = this.series.slice(0, start).concat(series);
    for (const row of series) row?.[VALUES].forEach((value, i) => this.#sliders[i + 1].offer([value]));
    this.changed = true;
  }

  _replace(origin, counts, rgba, x, y, t) {
    this.view.replace({origin: {x: origin[0], y: origin[1]}, counts, x, y, rgba, t});
    this.#counts = [...counts];
    this.#rgba = rgba.slice();
    this.#sliders[0]?.forget();
    this.#offer(t);
    this.changed = true;
  }

  _append(slots, counts, x, y, t) {
    this.view.append({slots, counts, x, y, t});
    slots.forEach((slot, i) => (this.#counts[slot] += counts[i]));
    this.#offer(t);
  }

  _add(rgba) {
    this.view.addSeries(rgba);
    this.#counts = this.#counts.concat(new Array(rgba.length / 4).fill(0));
    const all = new Uint8Array(this.#rgba.length + rgba.length);
    all.set(this.#rgba);
    all.set(rgba, this.#rgba.length);
    this.#rgba = all;
    this.changed = true;
  }

  _clear(slots) {
    this.view.clearSeries(slots);
    for (const slot of slots) {
      this.#counts[slot] = 0;
      this.series[slot] = null;
    }
    this.changed = true;
  }

  _colors(rgba) {
    this.view.setColors(rgba);
    this.#rgba = rgba.slice();
    this.changed = true;
  }

  #offer(t) {
    if (!t || !this.#sliders.length) return;
    this.#sliders[0].offer(t);
  }
}

const APPLY = {
  [Op.NOTE]: Plot.prototype._note,
  [Op.REPLACE]: Plot.prototype._replace,
  [Op.APPEND]: Plot.prototype._append,
  [Op.ADD]: Plot.prototype._add,
  [Op.CLEAR]: Plot.prototype._clear,
  [Op.COLORS]: Plot.prototype._colors,
};

/** The range around an extent, a little wider. */
export function padded(low, high, log) {
  if (log) {
    const factor = high > low ? (high / low) ** PADDING : 2;
    return {start: low / factor, end: high * factor};
  }
  const extent = high - low || Math.abs(high) || 1;
  return {start: low - PADDING * extent, end: high + PADDING * extent};
}
