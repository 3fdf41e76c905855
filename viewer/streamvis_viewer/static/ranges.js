// What window of the data a plot shows.

const PADDING = 0.04; // of the extent, on each side

/** The ranges of a plot, which hold all points until a person moves them, and again after a reset. */
export class Ranges {
  following = true;

  #model;
  #bounds;

  /** `bounds` gives the extent of what is shown, or null. */
  constructor(model, bounds) {
    this.#model = model;
    this.#bounds = bounds;
    model.on_event("rangesupdate", () => (this.following = false));
    model.on_event("reset", () => {
      this.following = true;
      this.fit();
    });
  }

  fit() {
    if (!this.following) return;
    const bounds = this.#bounds();
    if (!bounds) return;
    const {x_range, y_range, x_scale, y_scale} = this.#model;
    x_range.setv(padded(bounds.x0, bounds.x1, x_scale.type === "LogScale"), {sync: false});
    y_range.setv(padded(bounds.y0, bounds.y1, y_scale.type === "LogScale"), {sync: false});
  }
}

/** The range around an extent, a little wider. */
export function padded(low, high, log) {
  if (log) {
    const factor = high > low ? (high / low) ** PADDING : 2;
    return {start: low / factor, end: high * factor};
  }
  const extent = high - low || Math.abs(high) || 1;
  return {start: low - PADDING * extent, end: high + PADDING * extent};
}
