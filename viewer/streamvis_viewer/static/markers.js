// The markers, each as a path and as a signed distance (negative inside) that gives anti-aliased coverage; gl.js has the same in GLSL.
// Sizes are Bokeh's: r is half of `size`; a triangle's side is 2r, about its centre of mass.

/** Their names, in the order of their numbers. */
export const MARKERS = ["circle", "square", "triangle"];

const SLOPE = Math.sqrt(3);

/** A series' own marker, by its number from 1, or the plot's. */
export const markerOf = (series, slot, marker) => (series.marker[slot] ? MARKERS[series.marker[slot] - 1] : marker);

/** What multiplies the plot's size of the largest markers. */
export const largest = series => series.width.reduce((most, width) => Math.max(most, width), 1);

export const markerPath = {
  circle: (ctx, x, y, r) => ctx.arc(x, y, r, 0, 2 * Math.PI),
  square: (ctx, x, y, r) => ctx.rect(x - r, y - r, 2 * r, 2 * r),
  triangle: (ctx, x, y, r) => {
    ctx.moveTo(x - r, y + r / SLOPE);
    ctx.lineTo(x + r, y + r / SLOPE);
    ctx.lineTo(x, y - 2 * r / SLOPE);
    ctx.closePath();
  },
};

export const markerDistance = {
  circle: (x, y, r) => Math.hypot(x, y) - r,
  square: (x, y, r) => Math.max(Math.abs(x), Math.abs(y)) - r,
  triangle: (x, y, r) => Math.max(y, SLOPE / 2 * Math.abs(x) - y / 2) - r / SLOPE,
};
