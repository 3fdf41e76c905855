// The levels of detail of one plot: a base that holds all points, or some of them where they are too many, and for one window
// something finer: its points, or an image of how many points lie where. Knows nothing of Bokeh.
//
// A view is {x: [low, high], y: [low, high], log: [x, y], width, height}: a window, whether its axes are logarithmic, CSS pixels.

import {PackedSeries} from "./series.js";

const MOST_DETAIL = 1 << 20; // points of a detail, about: DETAIL_POINTS in looks.py
const PER_PIXEL = 4; // points of a line to a pixel in a detail, as looks.py has it
const LEAST_POINTS = 64; // of a line, as packed.py has it
const BETTER = 1.5; // by what factor something must be finer to be worth asking for
const PRECISE = 1 << 12; // how many windows away from its origin float32 still tells all pixels apart

export class Levels {
  base = new PackedSeries();
  budget = 0; // points of each series of a thinned base; 0: it holds all points
  thins = "extremes"; // what a thinned base kept
  total = 0; // points that there are, here or not
  #fine = null; // {series or image, view, slots: has this slot → 0 or 1, or null for all, value, exact}
  #detail = new PackedSeries();
  #value = null; // that is selected

  /** Every set of points that there is. */
  get #all() {
    return this.#fine?.series ? [this.base, this.#detail] : [this.base];
  }

  replace(points, {budget = 0, thins = "extremes", total = points.x.length} = {}) {
    this.base.replace(points);
    Object.assign(this, {budget, thins, total});
    this.#fine = null;
  }

  append(points) {
    this.base.append(points);
    this.total += points.x.length;
    if (this.#fine?.series) this.#detail.append(this.#within(points));
  }

  addSeries(rgba) {
    for (const series of this.#all) series.addSeries(rgba);
  }

  clearSeries(slots) {
    for (const series of this.#all) series.clearSeries(slots);
  }

  setColors(rgba) {
    for (const series of this.#all) series.setColors(rgba);
  }

  setVisible(slots, visible) {
    for (const series of this.#all) series.setVisible(slots, visible);
  }

  setStyle(slots, style) {
    for (const series of this.#all) series.setStyle(slots, style);
  }

  select(value) {
    this.#value = value;
    for (const series of this.#all) series.select(value);
  }

  smooth(weight) {
    for (const series of this.#all) series.smooth(weight);
  }

  /** Points of a window, as `replace` takes them but for what the base knows; `about`: {view, slots, value, exact}. */
  setDetail(points, about) {
    const {rgba, visible, width, dash, marker} = this.base;
    const detail = this.#detail;
    detail.weight = this.base.weight;
    detail.replace({...points, rgba});
    detail.select(this.#value);
    for (const [name, values] of Object.entries({visible, width, dash, marker})) detail[name].set(values);
    this.#fine = {...about, series: detail};
  }

  /** An image of the points of a window. */
  setDensity(image, about) {
    this.#fine = {...about, image};
  }

  /** What is finer than the base for this view: {series} or {image, view}; null where the base is to be drawn. */
  finest(view) {
    return !this.#suffices(view) && this.#covers(view) ? this.#fine : null;
  }

  /** Whether something finer should be asked for. */
  wants(view) {
    return !this.#suffices(view) && !(this.#covers(view) && this.#isFine(view));
  }

  // ---- is it enough?

  #suffices(view) {
    if (!this.budget) return this.#isPrecise(view.x, this.base.origin.x) && this.#isPrecise(view.y, this.base.origin.y);
    if (this.thins !== "extremes") return false;
    const {count, shown} = this.#series();
    if (!count) return true;
    const possible = Math.min(PER_PIXEL * view.width, Math.max(MOST_DETAIL / shown, LEAST_POINTS));
    return possible <= BETTER * this.budget * this.#part(view);
  }

  #isPrecise([low, high], origin) {
    return Math.max(Math.abs(low - origin), Math.abs(high - origin)) < PRECISE * (high - low);
  }

  #series() {
    let count = 0, shown = 0;
    for (let k = 0; k < this.base.count; k++) {
      count += this.base.length[k] > 0;
      shown += this.base.length[k] > 0 && this.base.visible[k];
    }
    return {count, shown: Math.max(shown, 1)};
  }

  /** Which part of the base's extent the view shows. */
  #part({x, log}) {
    const bounds = this.base.bounds(log[0], log[1]);
    if (!bounds) return 1;
    const scale = log[0] ? Math.log : Number;
    const [low, high] = [bounds.x0, bounds.x1].map(scale);
    return high > low ? Math.min(1, (scale(x[1]) - scale(x[0])) / (high - low)) : 1;
  }

  #covers(view) {
    const fine = this.#fine;
    if (!fine || fine.value !== this.#value) return false;
    if (fine.image && String(fine.view.log) !== String(view.log)) return false;
    const holds = ([low, high], [from, to]) => low <= from && to <= high;
    if (!holds(fine.view.x, view.x)) return false;
    if (this.thins !== "extremes" && !holds(fine.view.y, view.y)) return false;
    return !fine.slots || this.base.visible.every((visible, k) => !visible || !this.base.length[k] || fine.slots[k]);
  }

  /** Whether a closer look at the window of what covers it would show more. */
  #isFine(view) {
    const fine = this.#fine;
    if (fine.exact) return true;
    const had = ["x", "y"].map(side => fine.view[side][1] - fine.view[side][0]);
    const now = ["x", "y"].map(side => view[side][1] - view[side][0]);
    const zoom = (i, pixels) => (had[i] / now[i]) * (view[pixels] / fine.view[pixels]); // pixels now for each that there was
    return zoom(0, "width") < BETTER && (this.thins === "extremes" || zoom(1, "height") < BETTER);
  }

  // ---- new points that lie in the window of the detail

  #within({slots, counts, x, y, t, rest = []}) {
    const {view, value} = this.#fine;
    const {origin} = this.base;
    const mine = this.#detail.origin;
    const kept = [];
    const left = new Uint32Array(slots.length);
    const isInside = (values, from, [low, high]) => i => values[i] + from >= low && values[i] + from <= high;
    const inX = isInside(x, origin.x, view.x);
    const inY = this.thins === "extremes" ? () => true : isInside(y, origin.y, view.y);
    const wanted = value === null ? null : Math.fround(value - origin.t);
    for (let j = 0, i = 0; j < slots.length; j++) {
      for (const end = i + counts[j]; i < end; i++) {
        if (!inX(i) || !inY(i) || (wanted !== null && t && t[i] !== wanted && t[i] === t[i])) continue;
        kept.push(i);
        left[j]++;
      }
    }
    const moved = (values, shift) => Float32Array.from(kept, i => values[i] + shift);
    return {
      slots,
      counts: left,
      x: moved(x, origin.x - mine.x),
      y: moved(y, origin.y - mine.y),
      t: t && moved(t, origin.t - mine.t),
      rest: rest.map(values => moved(values, 0)),
    };
  }
}
