// The quick painters for a 2D context: whole device pixels, opaque, without anti-aliasing, a tenth of the exact ones' time.
// They draw what moves; layers.js has canvas.js draw it exactly once it rests. Lines that only grow are not drawn anew.

import {DASHES, forVisible} from "./canvas.js";
import {largest, markerDistance, markerOf} from "./markers.js";

/** Pixels of the plot's frame, which keep their memory from one paint to the next. */
export class Sheet {
  ink = new Ink();

  #canvas = document.createElement("canvas");
  #ctx = this.#canvas.getContext("2d", {willReadFrequently: true}); // the pixels come from the CPU anew each time
  #image = new ImageData(1, 1);

  /** Begins a picture of `plot` for `ctx`, with a margin of so many pixels on every side; who draws it fills all of its pixels. */
  begin(ctx, {x, y, frame}, margin) {
    const {a, e, d, f} = ctx.getTransform();
    this.margin = margin;
    this.left = Math.floor(frame.left * a + e);
    this.top = Math.floor(frame.top * d + f);
    this.width = Math.ceil(frame.right * a + e) - this.left + 2 * margin;
    this.height = Math.ceil(frame.bottom * d + f) - this.top + 2 * margin;
    this.ratio = a;
    this.place = {ax: x.a * a, bx: x.b * a + e - this.left + margin, ay: y.a * d, by: y.b * d + f - this.top + margin};
    if (this.#image.width === this.width && this.#image.height === this.height) return;
    Object.assign(this.#canvas, {width: this.width, height: this.height});
    this.#image = new ImageData(this.width, this.height);
    this.pixels = new Uint32Array(this.#image.data.buffer);
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
}

/** What is drawn of the lines of a plot, not yet widened: as long as points are only appended, only these are to be drawn. */
class Ink {
  pixels = new Uint32Array(0);
  lone = new Map(); // points between two gaps, by slot and place: [colour, x, y]

  #of = []; // what it is a picture of
  #taken = new Uint32Array(0); // points of each slot that are in it

  /** Goes on with the picture, or begins another one; `pen`: what else it depends on. */
  resume({series, vertical, x, y}, {pixels, width, place}, ...pen) {
    const {rewrites, paletteRevision} = series;
    const of = [series, rewrites, paletteRevision, vertical, x.log, y.log, ...Object.values(place), pixels.length, width, ...pen];
    if (of.every((value, i) => value === this.#of[i])) return;
    this.#of = of;
    this.#taken = new Uint32Array(series.count);
    this.lone.clear();
    if (this.pixels.length === pixels.length) this.pixels.fill(0);
    else this.pixels = new Uint32Array(pixels.length);
  }

  /** Where to go on with a run, so that new points are joined with the last one; its end if there are none. */
  from({start}, slot, begin, end, isPlace) {
    const last = start[slot] + this.#taken[slot] - 1;
    if (last < begin) return begin;
    if (last + 1 >= end) return end;
    if (last > begin && isPlace(last) && isPlace(last - 1)) return last - 1; // no lone point
    this.lone.delete(placeOf(slot, last - start[slot]));
    return last;
  }

  /** All points that there are now are in it. */
  take({length}) {
    this.#taken.set(length);
  }
}

const placeOf = (slot, at) => slot * 2 ** 32 + at;

/** As in canvas.js, for many points: returns how many. */
export function rasterLines(sheet, ctx, plot, {width, alpha}) {
  const {series} = plot;
  sheet.begin(ctx, plot, 1); // the margin's columns take what lies beyond the frame
  const {ink: kept, pixels} = sheet;
  const thickness = width * sheet.ratio;
  const special = []; // few: lines with a dash or a width of their own, drawn over the others
  kept.resume(plot, sheet, thickness, alpha);
  const pen = new Brush(kept, sheet, plot);
  pen.take(thickness);
  const isPlace = i => pen.isPlace(i);
  const points = forInked(series, alpha, (ink, begin, end, slot) => {
    if (series.width[slot] !== 1 || series.dash[slot] !== 0) special.push([ink, begin, end, slot]);
    else pen.trace(ink, slot, kept.from(series, slot, begin, end, isPlace), end);
  });
  kept.take(series);
  pixels.set(kept.pixels);
  if (pen.spread) widen(pixels, sheet.width, pen.spread);
  const brush = new Brush({pixels, lone: new Map()}, sheet, plot);
  for (const [ink, begin, end, slot] of special) {
    brush.takeWhole(thickness * series.width[slot], series.dash[slot]);
    brush.trace(ink, slot, begin, end);
  }
  for (const {lone} of [pen, brush]) brush.dots(lone.values(), Math.max(width, 2) * sheet.ratio);
  sheet.finish(ctx);
  return points;
}

/** As in canvas.js, for many points: returns how many. */
export function rasterPoints(sheet, ctx, plot, {marker, size, alpha}) {
  const {series} = plot;
  const reach = Math.ceil(size * largest(series) * ctx.getTransform().a / 2) + 1;
  const margin = 2 * reach; // markers centred just outside still show, and no stamp needs a bounds check
  sheet.begin(ctx, plot, margin);
  const {pixels, width, height, place: {ax, bx, ay, by}} = sheet;
  pixels.fill(0);
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
  #run;
  #dash = null;

  /** On those pixels, which are laid out as a sheet's are; `lone` gets the points that have no segment. */
  constructor({pixels, lone}, {place, width, height, ratio}, {series, vertical, x, y}) {
    const [u, v] = [series.units("x", x.log), series.units(vertical, y.log)];
    Object.assign(this, {pixels, lone, place, width, height, ratio, beyond: width - 1, start: series.start, u, v});
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
    this.#run = spreader(runner(this, this.half), this.spread, this.beyond);
    if (dash) this.#dash = new Dash(DASHES[dash], this.ratio);
  }

  /** Whether a point has a place, or is a gap. */
  isPlace(i) {
    const {u, v, place: {ax, bx, ay, by}} = this;
    const [x, y] = [u[i] * ax + bx, v[i] * ay + by];
    return x - x === 0 && y - y === 0;
  }

  trace(ink, slot, begin, end) {
    const {u, v, pixels, width, height, beyond, half, place: {ax, ay, by}} = this;
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
        if (joined === 1) this.#leave(ink, slot, i - 1, lastX, lastY);
        else if (joined) run(column, low, high);
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
    if (joined === 1) this.#leave(ink, slot, end - 1, lastX, lastY);
    else if (joined) run(column, low, high);
  }

  /** A point between two gaps has no segment, yet must not be invisible. */
  dots(lone, radius) {
    const {pixels, width, height} = this;
    for (const [ink, x, y] of lone) {
      const end = Math.min(this.beyond, x + radius - 0.5);
      for (let c = Math.max(0, Math.floor(x - radius + 0.5)); c < end; c++) {
        const rest = Math.sqrt(Math.max(0, radius ** 2 - (c + 0.5 - x) ** 2));
        fill(pixels, width, height, ink, c, y - rest, y + rest);
      }
    }
  }

  #leave(ink, slot, i, x, y) {
    this.lone.set(placeOf(slot, i - this.start[slot]), [ink, x + this.spread / 2, y]);
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
