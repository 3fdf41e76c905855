// How one axis of a plot places packed coordinates: screen = unit * a + b (see toUnit in series.js).

/** From a Bokeh scale; `middle` is a screen position amid the frame, about which a GPU's float32 arithmetic is most precise. */
export function placement(scale, origin, middle) {
  const log = scale.type === "LogScale";
  const {a, b} = log ? logarithmic(scale, origin) : linear(scale, origin);
  return {log, a, b, centre: Math.fround((middle - b) / a)};
}

function linear(scale, origin) {
  const {start, end} = scale.source_range;
  // The slope from the window's ends: over [0, 1] it would cancel catastrophically far from zero.
  const a = (scale.compute(end) - scale.compute(start)) / (end - start);
  return {a, b: scale.compute(start) + (origin - start) * a};
}

function logarithmic(scale, origin) {
  return {a: scale.compute(Math.E) - scale.compute(1), b: scale.compute(origin > 0 ? origin : 1)};
}

/** False for a window of no extent, or one that a logarithmic axis cannot show. */
export function isUsable({a, b}) {
  return Number.isFinite(a) && Number.isFinite(b) && a !== 0;
}
