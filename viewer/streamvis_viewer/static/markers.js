// The markers, each as a path and as a signed distance (negative inside) that gives anti-aliased coverage; gl.js has the same in GLSL.
// Sizes are Bokeh's: r is half of `size`; a triangle's side is 2r, about its centre of mass.

const SLOPE = Math.sqrt(3);

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
