// Which window of the data each plot shows: everything, until a person moves it, and again after a reset.
//
// While points come, an axis stays where it is as long as they have room on it, so that the picture need not be drawn anew.

import {isLog, setLog} from "./scales.js";
import {rounded} from "./state.js";

const PADDING = 0.04; // of the extent, on each side
const ROOM = [0.01, 0.08]; // how much of it an axis that stays may have
const SIDES = ["x", "y"];

/** The ranges of all plots of the page, as the state has them. */
export class Ranges {
  #plots;
  #state;
  #shown = new WeakMap(); // what we set a range to: anything else was a person

  constructor(plots, state) {
    this.#plots = plots;
    this.#state = state;
    for (const plot of plots) {
      plot.model.on_event("rangesupdate", () => this.#moved(plot));
      plot.model.on_event("reset", () => this.reset(plot));
      plot.model.on_event("doubletap", () => this.reset(plot));
    }
    state.watch(["axes"], () => this.#scale());
    state.watch(["x"], () => state.reset("xrange")); // which was of other columns
    state.watch(["xrange", "yrange", "fit", "link"], () => this.fit());
    this.#scale();
  }

  /** Shows everything again: in this plot, and in those that are linked with it. */
  reset(plot) {
    const {xrange, yrange} = this.#ranges();
    for (const each of [plot, ...this.#linked(plot)]) xrange[each.index] = null;
    yrange[plot.index] = null;
    this.#state.set({xrange, yrange});
    this.fit();
  }

  resetAll() {
    this.#state.reset("xrange", "yrange");
    this.fit();
  }

  /** After what is shown of the points has changed. */
  fit() {
    this.#fit((plot, side, low, high) => padded(low, high, this.#isLog(plot, side)));
  }

  /** After points have come. */
  follow() {
    this.#fit((plot, side, low, high) => {
      const log = this.#isLog(plot, side);
      const shown = this.#shown.get(plot.model[`${side}_range`]);
      return shown && hasRoom(shown, low, high, log) ? shown : padded(low, high, log);
    });
  }

  /** `around`: (plot, side, low, high) → the range for points of that extent. */
  #fit(around) {
    const known = new Map(); // the extents of plots that show everything; asked for once
    const boundsOf = plot => {
      if (!known.has(plot)) known.set(plot, plot.data.bounds(this.#state.get("fit")));
      return known.get(plot);
    };
    for (const plot of this.#plots) {
      for (const side of SIDES) this.#show(plot, side, this.#state.get(`${side}range`)[plot.index] ?? this.#whole(plot, side, boundsOf, around));
    }
  }

  #ranges() {
    return {xrange: [...this.#state.get("xrange")], yrange: [...this.#state.get("yrange")]};
  }

  #isLog(plot, side) {
    return isLog(this.#state.get("axes")[plot.index], side);
  }

  /** Other plots over the same column with the same scale, while they are linked. */
  #linked(plot) {
    if (this.#state.get("link") !== "x") return [];
    return this.#plots.filter(
      other => other !== plot && other.columns[0] === plot.columns[0] && this.#isLog(other, "x") === this.#isLog(plot, "x"),
    );
  }

  #scale() {
    for (const plot of this.#plots) {
      for (const side of SIDES) {
        const log = this.#isLog(plot, side);
        const range = this.#state.get(`${side}range`)[plot.index];
        if (log && range && !(Math.min(...range) > 0)) this.#state.setItem(`${side}range`, plot.index, null);
        setLog(plot.model, side, log);
      }
      plot.nameAxis();
    }
    this.fit();
  }

  #whole(plot, side, boundsOf, around) {
    const shown = (side === "x" ? [plot, ...this.#linked(plot)] : [plot]).map(boundsOf).filter(Boolean);
    if (!shown.length) return null;
    return around(plot, side, Math.min(...shown.map(each => each[`${side}0`])), Math.max(...shown.map(each => each[`${side}1`])));
  }

  #show(plot, side, pair) {
    if (!pair) return; // nothing to show: the axes stay as they are
    const range = plot.model[`${side}_range`];
    const [start, end] = pair;
    this.#shown.set(range, [start, end]);
    range.setv({start, end});
  }

  #moved(plot) {
    const {xrange, yrange} = this.#ranges();
    for (const side of SIDES) {
      const {start, end} = plot.model[`${side}_range`];
      const [low, high] = this.#shown.get(plot.model[`${side}_range`]) ?? [];
      if (start === low && end === high) continue;
      const pair = this.#isLog(plot, side)
        ? [start, end].map(value => Number(value.toPrecision(6)))
        : [rounded(start, Math.abs(end - start)), rounded(end, Math.abs(end - start))];
      if (side === "y") yrange[plot.index] = pair;
      else for (const each of [plot, ...this.#linked(plot)]) xrange[each.index] = pair;
    }
    this.#state.set({xrange, yrange});
  }
}

/** Whether a range leaves some room, and not much, on both sides of an extent. */
function hasRoom(range, low, high, log) {
  const [start, end, first, last] = [...range, low, high].map(log ? Math.log : Number);
  const [least, most] = ROOM;
  return [first - start, end - last].every(room => room >= least * (last - first) && room <= most * (last - first));
}

/** The range around an extent, a little wider. */
export function padded(low, high, log) {
  if (log) {
    const factor = high > low ? (high / low) ** PADDING : 2;
    return [low / factor, high * factor];
  }
  if (low === high) return [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
  const extent = high - low;
  return [low - PADDING * extent, high + PADDING * extent];
}
