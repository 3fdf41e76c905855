// The exact, anti-aliased painters for a 2D context: CPU raster, PNG export, and (paths only) SVG export.

import {largest, markerOf, markerPath} from "./markers.js";
import {StampImage} from "./stamps.js";

const CHUNK = 16; // segments per path of a wide line
const PATHS = 5000; // markers up to which paths are as fast as stamps

/** How lines may be dashed, by number: pixels drawn and left out, as Bokeh's patterns of these names. */
export const DASH_NAMES = ["solid", "dashed", "dotted", "dotdash", "dashdot"];
export const DASHES = [[], [6, 6], [2, 4], [2, 4, 6, 4], [6, 4, 2, 4]];

const LEFT = 1, RIGHT = 2, ABOVE = 4, BELOW = 8;

export function isRaster(ctx) {
  return ctx instanceof CanvasRenderingContext2D;
}

export function cssColor(rgba, slot, alpha) {
  const [r, g, b, a] = rgba.subarray(4 * slot, 4 * slot + 4);
  return `rgba(${r}, ${g}, ${b}, ${a / 255 * alpha})`;
}

/**
 * plot: {series, vertical, x, y, frame}: the series, which of their columns is drawn along y, placements (axis.js), the frame;
 * style: {width, alpha}, which each series' own width multiplies. Returns the points drawn.
 */
export function paintLines(ctx, plot, {width, alpha}) {
  const {series} = plot;
  let points = 0;
  const pencil = new Pencil(ctx, plot);
  forVisible(series, (slot, begin, end) => {
    ctx.strokeStyle = ctx.fillStyle = cssColor(series.rgba, slot, alpha);
    pencil.take(width * series.width[slot], DASHES[series.dash[slot]], series.rgba[4 * slot + 3] * alpha === 255);
    pencil.trace(begin, end);
    pencil.dots();
    points += end - begin;
  });
  ctx.setLineDash([]);
  return points;
}

/** Visits the runs of the visible series: (slot, begin, end). */
export function forVisible(series, visit) {
  const {runs, visible} = series;
  for (let r = 0; r < runs.length; r += 3) {
    if (visible[runs[r]]) visit(runs[r], runs[r + 1], runs[r + 2]);
  }
}

export function countPoints(series) {
  let points = 0;
  forVisible(series, (slot, begin, end) => { points += end - begin; });
  return points;
}

/**
 * Strokes polylines, leaving out what cannot be seen: segments beyond one side of the frame, and in each
 * pixel column all points but the first, lowest, highest and last, which cover the same pixels (M4: Jugel et al., VLDB 2014).
 */
class Pencil {
  #lone = [];

  constructor(ctx, {series, vertical, x, y, frame}) {
    this.ctx = ctx;
    this.u = series.units("x", x.log);
    this.v = series.units(vertical, y.log);
    this.x = x;
    this.y = y;
    this.frame = frame;
    this.columns = isRaster(ctx) ? ctx.getTransform().a : 4; // per CSS pixel
  }

  /** What the next lines are drawn with. */
  take(width, dash, opaque) {
    const {ctx, frame} = this;
    this.width = width;
    this.dashed = dash.length > 0;
    // Rasterising a wide stroke costs the square of the crossings within one path: noisy lines 15 times less in chunks.
    this.chunk = isRaster(ctx) && width * this.columns > 1 ? CHUNK : Infinity;
    this.sides = {left: frame.left - width, right: frame.right + width, top: frame.top - width, bottom: frame.bottom + width};
    ctx.lineWidth = width;
    ctx.lineJoin = width > 2 ? "round" : "bevel"; // a round join costs much, and shows from there on
    ctx.lineCap = opaque && this.chunk < Infinity && !this.dashed ? "round" : "butt"; // round ends hide where chunks meet
    ctx.setLineDash(dash);
  }

  trace(begin, end) {
    const {ctx, u, v, columns, chunk, dashed, sides: {left, right, top, bottom}} = this;
    const {a: ax, b: bx} = this.x;
    const {a: ay, b: by} = this.y;
    let joined = 0; // points since the last gap
    let side = 0; // where the last point lies outside the frame
    let column = NaN;
    let held = 0; // points of this column that are not in the path yet
    let lastX = 0, lastY = 0, lowX = 0, lowY = 0, highX = 0, highY = 0, lowAt = 0, highAt = 0;
    let segments = 0;
    let penX = 0, penY = 0, travelled = 0; // of dashed lines, whose pattern goes on from chunk to chunk
    const moveTo = (sx, sy) => {
      ctx.moveTo(sx, sy);
      [penX, penY, travelled] = [sx, sy, 0];
    };
    const lineTo = (sx, sy) => {
      ctx.lineTo(sx, sy);
      if (dashed) {
        travelled += Math.hypot(sx - penX, sy - penY);
        [penX, penY] = [sx, sy];
      }
      if (++segments < chunk) return;
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(sx, sy);
      ctx.lineDashOffset = travelled;
      segments = 0;
    };
    const release = () => {
      if (held > 2) {
        if (lowAt < highAt) lineTo(lowX, lowY);
        lineTo(highX, highY);
        if (lowAt >= highAt) lineTo(lowX, lowY);
      } else if (held > 1) {
        lineTo(lowAt < highAt ? lowX : highX, lowAt < highAt ? lowY : highY);
      }
      lineTo(lastX, lastY);
      held = 0;
    };
    ctx.lineDashOffset = 0;
    ctx.beginPath();
    for (let i = begin; i < end; i++) {
      const sx = u[i] * ax + bx;
      const sy = v[i] * ay + by;
      if (!(sx - sx === 0 && sy - sy === 0)) {
        if (held) release();
        if (joined === 1) this.#lone.push(lastX, lastY);
        joined = 0;
        column = NaN;
        continue;
      }
      const here = Math.floor((sx + 0.5) * columns);
      if (here === column) {
        if (held === 0) {
          lowX = highX = sx;
          lowY = highY = sy;
          lowAt = highAt = i;
        } else if (sy < lowY) {
          lowX = sx; lowY = sy; lowAt = i;
        } else if (sy > highY) {
          highX = sx; highY = sy; highAt = i;
        }
        held++;
      } else {
        if (held) release();
        const now = (sx < left ? LEFT : sx > right ? RIGHT : 0) | (sy < top ? ABOVE : sy > bottom ? BELOW : 0);
        if (joined === 0 || (now & side)) moveTo(sx, sy);
        else lineTo(sx, sy);
        side = now;
        column = here;
      }
      joined++;
      lastX = sx;
      lastY = sy;
    }
    if (held) release();
    if (joined === 1) this.#lone.push(lastX, lastY);
    ctx.stroke();
  }

  /** A point between two gaps has no segment, yet must not be invisible. */
  dots() {
    const {ctx} = this;
    const radius = Math.max(this.width, 2);
    for (let i = 0; i < this.#lone.length; i += 2) {
      ctx.beginPath();
      ctx.arc(this.#lone[i], this.#lone[i + 1], radius, 0, 2 * Math.PI);
      ctx.fill();
    }
    this.#lone = [];
  }
}

/** style: {marker, size, alpha}; a series may have a marker of its own, and a number that multiplies the size. Returns the points drawn. */
export function paintPoints(ctx, plot, style) {
  const points = countPoints(plot.series);
  if (points <= PATHS || !isRaster(ctx)) paintPaths(ctx, plot, style);
  else paintStamps(ctx, plot, style);
  return points;
}

export function paintPaths(ctx, {series, vertical, x, y, frame}, {marker, size, alpha}) {
  const u = series.units("x", x.log);
  const v = series.units(vertical, y.log);
  forVisible(series, (slot, begin, end) => {
    const draw = markerPath[markerOf(series, slot, marker)];
    const own = size * series.width[slot];
    const r = own / 2;
    ctx.fillStyle = cssColor(series.rgba, slot, alpha);
    for (let i = begin; i < end; i++) {
      const sx = u[i] * x.a + x.b;
      const sy = v[i] * y.a + y.b;
      if (!(sx >= frame.left - own && sx <= frame.right + own && sy >= frame.top - own && sy <= frame.bottom + own)) continue;
      ctx.beginPath();
      draw(ctx, sx, sy, r);
      ctx.fill();
    }
  });
}

/** The same for many markers, on raster contexts only. */
export function paintStamps(ctx, {series, vertical, x, y, frame}, {marker, size, alpha}) {
  const {a, e, d, f} = ctx.getTransform();
  const left = Math.floor(frame.left * a + e);
  const top = Math.floor(frame.top * d + f);
  const width = Math.ceil(frame.right * a + e) - left;
  const height = Math.ceil(frame.bottom * d + f) - top;
  if (!(width > 0 && height > 0)) return;
  const image = new StampImage(size * a * largest(series), width, height);
  const u = series.units("x", x.log);
  const v = series.units(vertical, y.log);
  const place = {ax: x.a * a, bx: x.b * a + e - left, ay: y.a * d, by: y.b * d + f - top};
  forVisible(series, (slot, begin, end) => {
    const ink = series.rgba.slice(4 * slot, 4 * slot + 4);
    ink[3] = Math.round(ink[3] * alpha);
    image.stamp(u, v, begin, end, place, ink, image.masks(markerOf(series, slot, marker), size * a * series.width[slot]));
  });
  image.draw(ctx, left, top);
}
