// The quick painters for a 2D context: whole device pixels, opaque, without anti-aliasing, a tenth of the exact ones' time.
// They draw what moves; layers.js has canvas.js draw it exactly once it rests.

import {DASHES, forVisible} from "./canvas.js";
import {largest, markerDistance, markerOf} from "./markers.js";

/** Pixels of the plot's frame, which keep their memory from one paint to the next. */
export class Sheet {
  #canvas = document.createElement("canvas");
  #ctx = this.#canvas.getContext("2d", {willReadFrequently: true}); // the pixels come from the CPU anew each time
  #image = new ImageData(1, 1);

  /** Begins a picture of `plot` for `ctx`, transparent, with a margin of so many pixels on every side. */
  begin(ctx, {x, y, frame}, margin) {
    const {a, e, d, f} = ctx.getTransform();
    this.margin = margin;
    this.left = Math.floor(frame.left * a + e);
    this.top = Math.floor(frame.top * d + f);
    this.width = Math.ceil(frame.right * a + e) - this.left + 2 * margin;
    this.height = Math.ceil(frame.bottom * d + f) - this.top + 2 * margin;
    this.ratio = a;
    this.place = {ax: x.a * a, bx: x.b * a + e - this.left + margin, ay: y.a * d, by: y.b * d + f - this.top + margin};
    this.#clear();
    return this.pixels;
  }

  finish(ctx) {
    const {margin, left, top, width, height} = this;
    const [w, h] = [width - 2 * margin, height - 2 * margin];
    this.#ctx.putImageData(this.#image, 0, 0);
    ctx.save();
    ctx.resetTransform();
    ctx.drawImage(this.#canvas, margin, margin, w, h, left, top, w, h);
    ctx.restore();
  }

  #clear() {
    const {width, height} = this;
    if (this.#image.width === width && this.#image.height === height) {
      this.pixels.fill(0);
      return;
    }
    Object.assign(this.#canvas, {width, height});
    this.#image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.#image.data.buffer);
  }
}

/** As in canvas.js, for many points: returns how many. */
export function rasterLines(sheet, ctx, plot, {width, alpha}) {
  const {series} = plot;
  const pixels = sheet.begin(ctx, plot, 1); // the margin's columns take what lies beyond the frame
  const thickness = width * sheet.ratio;
  const brush = new Brush(sheet, series.units("x", plot.x.log), series.units(plot.vertical, plot.y.log));
  const special = []; // few: lines with a dash or a width of their own, drawn over the others
  brush.take(thickness);
  const points = forInked(series, alpha, (ink, begin, end, slot) => {
    if (series.width[slot] === 1 && series.dash[slot] === 0) brush.trace(ink, begin, end);
    else special.push([ink, begin, end, slot]);
  });
  if (brush.spread) widen(pixels, sheet.width, brush.spread);
  for (const [ink, begin, end, slot] of special) {
    brush.takeWhole(thickness * series.width[slot], series.dash[slot]);
    brush.trace(ink, begin, end);
  }
  brush.take(thickness);
  brush.dots(Math.max(width, 2) * sheet.ratio);
  sheet.finish(ctx);
  return points;
}

/** As in canvas.js, for many points: returns how many. */
export function rasterPoints(sheet, ctx, plot, {marker, size, alpha}) {
  const {series} = plot;
  const reach = Math.ceil(size * largest(series) * ctx.getTransform().a / 2) + 1;
  const margin = 2 * reach; // markers centred just outside still show, and no stamp needs a bounds check
  const pixels = sheet.begin(ctx, plot, margin);
  const {width, height, place: {ax, bx, ay, by}} = sheet;
  const stamps = new Map();
  const stampFor = slot => {
    const [own, times] = [markerOf(series, slot, marker), series.width[slot]];
    const key = `${own} ${times}`;
    if (!stamps.has(key)) stamps.set(key, stampOf(own, size * times * sheet.ratio, reach, width));
    return stamps.get(key);
  };
  const [right, bottom] = [width - reach, height - reach];
  const u = series.units("x", plot.x.log);
  const v = series.units(plot.vertical, plot.y.log);
  const points = forInked(series, alpha, (ink, begin, end, slot) => {
    const stamp = stampFor(slot);
    for (let i = begin; i < end; i++) {
      const x = u[i] * ax + bx;
      const y = v[i] * ay + by;
      if (!(x >= reach && x < right && y >= reach && y < bottom)) continue;
      const at = (y | 0) * width + (x | 0);
      for (let j = 0; j < stamp.length; j++) pixels[at + stamp[j]] = ink;
    }
  });
  sheet.finish(ctx);
  return points;
}

// Visits the runs that show with their colour as a pixel, which replaces what is below it; returns how many points they have.
function forInked(series, alpha, visit) {
  let points = 0;
  const rgba = series.rgba.map((value, i) => (i % 4 === 3 ? Math.round(value * alpha) : value));
  const inks = new Uint32Array(rgba.buffer);
  forVisible(series, (slot, begin, end) => {
    points += end - begin;
    if (rgba[4 * slot + 3] > 0) visit(inks[slot], begin, end, slot);
  });
  return points;
}

/** Draws polylines as vertical runs of pixels: all points of a series within a pixel column become one. */
class Brush {
  #lone = [];
  #sheet;
  #run;
  #dash = null;

  constructor(sheet, u, v) {
    Object.assign(this, {place: sheet.place, beyond: sheet.width - 1, u, v});
    this.#sheet = sheet;
  }

  /** How thick the next lines are; `widen` makes them so to the right. */
  take(thickness) {
    this.half = Math.max(0, thickness - 1) / 2; // what a run extends beyond the line's centre
    this.spread = Math.max(0, Math.round(thickness) - 1); // columns that `widen` adds on the right
    this.#run = null;
    this.#dash = null;
  }

  /** The same for lines that are drawn in their whole thickness at once, and with dashes of that number. */
  takeWhole(thickness, dash) {
    this.take(thickness);
    this.#run = spreader(runner(this.#sheet, this.half), this.spread, this.beyond);
    if (dash) this.#dash = new Dash(DASHES[dash], this.#sheet.ratio);
  }

  trace(ink, begin, end) {
    const {u, v, beyond, half, place: {ax, ay, by}} = this;
    const {pixels, width, height} = this.#sheet;
    const bx = this.place.bx - this.spread / 2;
    const special = this.#dash ? this.#dash.over(this.#run) : this.#run;
    const run = (c, from, to) => {
      if (special) special(ink, c, from, to);
      else fill(pixels, width, height, ink, c, from - half, to + half); // called as it is, it costs half
    };
    let joined = 0; // points since the last gap
    let column = 0, lastX = 0, lastY = 0, low = 0, high = 0;
    for (let i = begin; i < end; i++) {
      const x = u[i] * ax + bx;
      const y = v[i] * ay + by;
      if (!(x - x === 0 && y - y === 0)) {
        if (joined) this.#close(ink, joined, column, lastX, lastY, low, high);
        joined = 0;
        continue;
      }
      const here = x < 1 ? 0 : x < beyond ? x | 0 : beyond;
      if (joined === 0) {
        low = high = y;
      } else if (here === column) {
        if (y < low) low = y;
        else if (y > high) high = y;
      } else {
        const step = here > column ? 1 : -1;
        const rise = (y - lastY) / (x - lastX);
        let edge = lastY + rise * ((step > 0 ? column + 1 : column) - lastX); // where the segment leaves the column
        run(column, edge < low ? edge : low, edge > high ? edge : high);
        for (let c = column + step; c !== here; c += step) {
          const next = edge + rise * step;
          run(c, edge < next ? edge : next, edge < next ? next : edge);
          edge = next;
        }
        low = edge < y ? edge : y;
        high = edge < y ? y : edge;
      }
      column = here;
      lastX = x;
      lastY = y;
      joined++;
    }
    if (joined) this.#close(ink, joined, column, lastX, lastY, low, high);
  }

  /** A point between two gaps has no segment, yet must not be invisible. */
  dots(radius) {
    const {pixels, width, height} = this.#sheet;
    for (const [ink, x, y] of this.#lone) {
      const end = Math.min(this.beyond, x + radius - 0.5);
      for (let c = Math.max(0, Math.floor(x - radius + 0.5)); c < end; c++) {
        const rest = Math.sqrt(Math.max(0, radius ** 2 - (c + 0.5 - x) ** 2));
        fill(pixels, width, height, ink, c, y - rest, y + rest);
      }
    }
  }

  #close(ink, joined, column, x, y, low, high) {
    const {pixels, width, height} = this.#sheet;
    if (joined === 1) this.#lone.push([ink, x + this.spread / 2, y]);
    else if (this.#run) this.#run(ink, column, low, high);
    else fill(pixels, width, height, ink, column, low - this.half, high + this.half);
  }
}

// Leaves out the columns of a line that its pattern leaves out.
class Dash {
  #pattern;
  #period;

  constructor(pattern, ratio) {
    this.#pattern = pattern.map(length => length * ratio);
    this.#period = this.#pattern.reduce((sum, length) => sum + length, 0);
  }

  /** `run` for a new line. */
  over(run) {
    let travelled = 0;
    return (ink, column, low, high) => {
      if (this.#isOn(travelled % this.#period)) run(ink, column, low, high);
      travelled += Math.max(1, high - low);
    };
  }

  #isOn(at) {
    for (let i = 0; i < this.#pattern.length; i++) {
      if (at < this.#pattern[i]) return i % 2 === 0;
      at -= this.#pattern[i];
    }
    return true;
  }
}

// The same as `run`, in so many columns more.
function spreader(run, spread, beyond) {
  return (ink, column, low, high) => {
    for (let c = column; c <= Math.min(column + spread, beyond); c++) run(ink, c, low, high);
  };
}

// A function that fills a column's pixels from row `low` to row `high`, and `half` beyond them.
function runner({pixels, width, height}, half) {
  return (ink, column, low, high) => fill(pixels, width, height, ink, column, low - half, high + half);
}

// Fills a column's pixels from row `low` to row `high`.
function fill(pixels, width, height, ink, column, low, high) {
  if (!(low < height && high >= 0)) return;
  const last = (high < height - 1 ? high | 0 : height - 1) * width + column;
  let at = (low > 0 ? low | 0 : 0) * width + column;
  pixels[at] = ink;
  while (at < last) pixels[at += width] = ink;
}

// Ink within the margins runs on to the right by so many pixels, but not over other ink.
function widen(pixels, width, spread) {
  for (let begin = 0; begin < pixels.length; begin += width) {
    let ink = 0, left = 0;
    for (let at = begin + 1; at < begin + width; at++) {
      if (pixels[at]) {
        ink = pixels[at];
        left = spread;
      } else if (left) {
        pixels[at] = ink;
        left--;
      }
    }
  }
}

// Where the pixels of a marker lie about its centre's; at least that one.
function stampOf(marker, size, reach, width) {
  const distance = markerDistance[marker];
  const offsets = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      if ((x === 0 && y === 0) || distance(x, y, size / 2) <= 0) offsets.push(y * width + x);
    }
  }
  return Int32Array.from(offsets);
}
