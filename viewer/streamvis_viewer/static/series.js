// The points of one plot, packed: one slab per series in shared typed arrays. Knows nothing of pixels, pages or Bokeh.
//
// x and y hold float32 offsets from a float64 origin, so that step counts above 2^24 and Unix times keep their precision.
// Every element that holds no point is NaN, and a NaN follows every series (one also precedes the first): whoever draws
// the arrays as they are sees a gap between any two series.

const GROWTH = 1.5;
const LEAST_ROOM = 64; // elements a growing slab gains at least
const UNBIASED = 1 << 20; // points after which an average has forgotten its start
const MOST_ASKED = 20_000; // points whose quantiles stand for those of all
const ROBUST_MARGIN = 0.1;
const MOST_CHANGES = 256; // beyond this, copying everything is no dearer than copying the changes

const isSame = (a, b) => a === b || (a !== a && b !== b);
const isGap = (a, b) => !Number.isFinite(a) || !Number.isFinite(b);

/** The unit in which an axis is linear: the offset itself, or on a logarithmic axis the distance to the origin's logarithm. */
export function toUnit(offset, origin, log) {
  if (!log) return offset;
  return origin > 0 ? Math.log1p(offset / origin) : Math.log(offset + origin);
}

export function fromUnit(unit, origin, log) {
  if (!log) return unit;
  return origin > 0 ? Math.expm1(unit) * origin : Math.exp(unit) - origin;
}

export class PackedSeries {
  #runs = null;
  #index = null; // t → flat [slot, first, last + 1, …], positions counted from the slab's start
  #indexed = null; // points per slot that the index holds
  #boundsOf = null; // bounds per slot, and how many of its points they hold

  #averages; // of each slot: what its moving average goes on from
  #selected = null; // the value itself, not its offset

  constructor() {
    this.selected = null;
    this.weight = 0; // of what came before, in the moving average that is `s`; 0: there is none
    this.revision = 0; // counts the changes that touch everything, be it only its place
    this.rewrites = 0; // counts the changes of points that were there before
    this.paletteRevision = 0; // counts the changes of colour, style and visibility
    const none = new Float32Array(0);
    this.replace({origin: {x: 0, y: 0}, counts: new Uint32Array(0), x: none, y: none, rgba: new Uint8Array(0)});
  }

  get count() {
    return this.length.length;
  }

  /** The column that is drawn along y. */
  get vertical() {
    return this.arrays.s ? "s" : "y";
  }

  /**
   * All series at once, concatenated in slot order; every slot becomes visible, selection and smoothing stay.
   * `rest`: further columns, kept as they are. `smoothed`: {values, weight, written}, y's moving average where the points are too
   * few to make it from them, and how many points each series has really.
   */
  replace({origin, counts, x, y, rgba, t, rest = [], smoothed = null}) {
    const n = counts.length;
    checkPoints(counts, x, y, t);
    if (rgba.length !== 4 * n) throw new RangeError(`${rgba.length} bytes of colour for ${n} series: expected 4 each`);
    this.origin = {x: origin.x, y: origin.y, t: origin.t ?? 0};
    this.rgba = Uint8Array.from(rgba);
    this.visible = new Uint8Array(n).fill(1);
    this.width = new Float32Array(n).fill(1); // multiplies the layer's line width, or its size of markers
    this.dash = new Uint8Array(n); // of DASHES in canvas.js
    this.marker = new Uint8Array(n); // of MARKERS in markers.js, counted from 1; 0: the layer's
    this.sorted = new Uint8Array(n).fill(1); // x never decreases: nearest() may bisect
    this.start = new Uint32Array(n);
    this.capacity = new Uint32Array(n);
    this.length = new Uint32Array(n);
    this.arrays = {x: null, y: null, t: t ? new Float32Array(0) : null};
    rest.forEach((_, i) => (this.arrays[`rest${i}`] = null));
    if (smoothed) this.arrays.s = null;
    this.#averages = {last: new Float64Array(n), count: new Float64Array(n)};
    this.#layOut(Uint32Array.from(counts, c => c && c + 1));
    this.#put(Uint32Array.from(counts.keys()), counts, {x, y, t, rest, s: smoothed?.values});
    if (smoothed) this.#takeAverages(smoothed);
    else if (this.weight) this.#smoothAll();
    this.#choose();
    this.#rewritten();
    this.paletteRevision++;
  }

  /** From now on `s` is y's moving average, whose `weight` is that of what came before; 0: there is none. */
  smooth(weight) {
    if (weight === this.weight) return;
    this.weight = weight;
    delete this.arrays.s;
    delete this.arrays["log s"];
    if (weight) this.#smoothAll();
    this.#changedAll();
  }

  /** New points of existing slots, concatenated. */
  append({slots, counts, x, y, t, rest = []}) {
    checkPoints(counts, x, y, t);
    if (slots.length !== counts.length) throw new RangeError(`${slots.length} slots, but ${counts.length} counts`);
    for (const k of slots) {
      if (!(k < this.count)) throw new RangeError(`no slot ${k}: there are ${this.count} series`);
    }
    if (t && !this.arrays.t) this.arrays.t = new Float32Array(this.arrays.x.length).fill(NaN);
    this.#makeRoom(slots, counts);
    this.#put(slots, counts, {x, y, t, rest});
    this.#runs = null;
  }

  /** Appends slots without points. */
  addSeries(rgba) {
    const more = rgba.length / 4;
    const end = this.arrays.x.length;
    for (const name of ["start", "capacity", "length"]) this[name] = extended(this[name], more, 0);
    this.start.fill(end, this.count - more);
    this.visible = extended(this.visible, more, 1);
    this.width = extended(this.width, more, 1);
    this.dash = extended(this.dash, more, 0);
    this.marker = extended(this.marker, more, 0);
    this.sorted = extended(this.sorted, more, 1);
    for (const name of ["last", "count"]) this.#averages[name] = extended(this.#averages[name], more, 0);
    this.rgba = extended(this.rgba, 4 * more, 0);
    this.rgba.set(rgba, this.rgba.length - rgba.length);
    this.#boundsOf = null;
    this.#runs = null;
    this.#index = null;
    this.paletteRevision++;
  }

  /** Forgets the points of these slots; the slots stay. */
  clearSeries(slots) {
    for (const k of slots) {
      for (const array of this.#all()) array.fill(NaN, this.start[k], this.start[k] + this.length[k]);
      this.length[k] = this.#averages.last[k] = this.#averages.count[k] = 0;
      this.sorted[k] = 1;
    }
    this.#rewritten();
  }

  setColors(rgba) {
    if (rgba.length !== this.rgba.length) throw new RangeError(`${rgba.length} bytes of colour: expected ${this.rgba.length}`);
    this.rgba.set(rgba);
    this.paletteRevision++;
  }

  /** `width`, `dash` and `marker` as above; what is not given stays. */
  setStyle(slots, style) {
    for (const name of ["width", "dash", "marker"]) {
      if (style[name] !== undefined) for (const k of slots) this[name][k] = style[name];
    }
    this.paletteRevision++;
  }

  setVisible(slots, visible) {
    const changing = slots.filter(k => this.visible[k] !== (visible ? 1 : 0));
    for (const k of changing) this.visible[k] = visible ? 1 : 0;
    if (changing.length) this.paletteRevision++;
  }

  /** From now on only the points whose t equals `value` count (compared as float32), or is NaN; null: all. */
  select(value) {
    this.#selected = value;
    this.#choose();
    this.#changedAll();
  }

  #choose() {
    this.selected = this.#selected === null ? null : Math.fround(this.#selected - this.origin.t);
    this.#runs = null;
  }

  /** The coordinates along "x", "y" or "s" in the unit of the axis; element i belongs to element i of x. */
  units(name, log) {
    if (!log) return this.arrays[name];
    const logName = `log ${name}`;
    if (!this.arrays[logName]) {
      this.arrays[logName] = new Float32Array(this.arrays.x.length);
      this.#computeLog(name, 0, this.arrays.x.length);
    }
    return this.arrays[logName];
  }

  /** What is drawn, selection applied: (slot, begin, end) for every contiguous run of points. */
  get runs() {
    return (this.#runs ??= this.selected === null ? this.#allRuns() : this.#selectedRuns());
  }

  /** The points of one series, as they would be without an origin. */
  points(slot) {
    const [begin, end] = [this.start[slot], this.start[slot] + this.length[slot]];
    const column = name => Float64Array.from(this.arrays[name].subarray(begin, end), value => value + this.origin[name]);
    return {x: column("x"), y: column("y"), rest: this.#further.map(values => values.slice(begin, end))};
  }

  /** How many of the visible, selected points have no place on a logarithmic axis, but would have on a linear one. */
  unplaced(logX, logY) {
    if (!logX && !logY) return 0;
    const {x, y} = this.arrays;
    const u = this.units("x", logX);
    const v = this.units("y", logY);
    let count = 0;
    this.#forVisible((slot, begin, end) => {
      for (let i = begin; i < end; i++) count += isGap(u[i], v[i]) && !isGap(x[i], y[i]);
    });
    return count;
  }

  /** The same without the lowest and the highest hundredth along y; of very many points some are asked. */
  robustBounds(logX, logY) {
    const all = this.bounds(logX, logY);
    if (!all) return null;
    const values = this.#sampled(this.vertical).filter(value => Number.isFinite(value) && !(logY && value <= 0)).sort();
    if (!values.length) return all;
    const [low, high] = [0.01, 0.99].map(part => values[Math.round(part * (values.length - 1))]);
    const margin = logY ? 0 : ROBUST_MARGIN * (high - low);
    return {...all, y0: Math.max(all.y0, low - margin), y1: Math.min(all.y1, high + margin)};
  }

  /** The values of a column, of at most so many visible points that it costs little. */
  #sampled(name) {
    let total = 0;
    for (let k = 0; k < this.count; k++) total += this.visible[k] && this.length[k];
    const step = Math.max(1, Math.ceil(total / MOST_ASKED));
    const values = new Float64Array(Math.ceil(total / step));
    let filled = 0;
    let next = 0; // how far beyond the begin of the series the next value is
    for (let k = 0; k < this.count; k++) {
      if (!this.visible[k]) continue;
      for (; next < this.length[k]; next += step) values[filled++] = this.arrays[name][this.start[k] + next] + this.origin.y;
      next -= this.length[k];
    }
    return values.subarray(0, filled);
  }

  /** Data bounds of the visible points that have a place on the axes, selected or not; null when there are none. */
  bounds(logX, logY) {
    const total = emptyBounds();
    this.#boundAll(total, logX, logY);
    if (!(total[0] <= total[1])) return null;
    const {x, y} = this.origin;
    return {x0: total[0] + x, x1: total[1] + x, y0: total[2] + y, y1: total[3] + y};
  }

  /**
   * The visible, selected point nearest to screen position (sx, sy) among those inside `frame`, or null.
   * axes: {x: {a, b, log}, y: {a, b, log}}, with screen = unit * a + b.
   */
  nearest(sx, sy, axes, frame) {
    const best = {slot: -1, at: -1, squared: Infinity};
    const u = this.units("x", axes.x.log);
    const v = this.units(this.vertical, axes.y.log);
    const {x: {a: ax, b: bx}, y: {a: ay, b: by}} = axes;
    const target = fromUnit((sx - bx) / ax, this.origin.x, axes.x.log);
    let slot = 0;
    // false once a point is farther along x alone than the best one is: so are all points beyond it
    const consider = i => {
      const px = u[i] * ax + bx;
      const py = v[i] * ay + by;
      const across = (px - sx) ** 2;
      const squared = across + (py - sy) ** 2;
      if (squared < best.squared && frame.contains(px, py)) Object.assign(best, {slot, at: i, squared});
      return !(across >= best.squared);
    };
    const starts = [];
    // first one point of every sorted run, so that the second pass has little left to consider
    this.#forVisible((k, begin, end) => {
      slot = k;
      starts.push(this.sorted[k] ? bisect(this.arrays.x, target, begin, end) : begin);
      if (this.sorted[k]) consider(Math.min(starts.at(-1), end - 1));
    });
    let run = 0;
    this.#forVisible((k, begin, end) => {
      slot = k;
      const middle = starts[run++];
      const sorted = this.sorted[k];
      for (let i = middle; i < end && (consider(i) || !sorted); i++);
      for (let i = middle - 1; i >= begin && consider(i); i--);
    });
    if (best.slot < 0) return null;
    return {
      slot: best.slot,
      i: best.at - this.start[best.slot],
      x: this.arrays.x[best.at] + this.origin.x,
      y: this.arrays[this.vertical][best.at] + this.origin.y,
      raw: this.arrays.y[best.at] + this.origin.y,
      rest: this.#further.map(values => values[best.at]),
      distance_px: Math.sqrt(best.squared),
    };
  }

  /** The columns beyond x and y. */
  get #further() {
    return Object.keys(this.arrays).filter(name => name.startsWith("rest")).map(name => this.arrays[name]);
  }

  #all() {
    return Object.values(this.arrays).filter(array => array);
  }

  #forVisible(visit) {
    const runs = this.runs;
    for (let r = 0; r < runs.length; r += 3) {
      if (this.visible[runs[r]]) visit(runs[r], runs[r + 1], runs[r + 2]);
    }
  }

  #changedAll() {
    this.rewrites++;
    this.revision++;
    this.changes = []; // {slot, begin, end} written since `revision` became what it is
  }

  #rewritten() {
    this.#changedAll();
    this.#runs = null;
    this.#index = null;
    this.#boundsOf = null;
  }

  #put(slots, counts, {x, y, t, rest, s}) {
    let from = 0;
    for (let j = 0; j < slots.length; j++) {
      const k = slots[j];
      const begin = this.start[k] + this.length[k];
      const until = from + counts[j];
      this.arrays.x.set(x.subarray(from, until), begin);
      this.arrays.y.set(y.subarray(from, until), begin);
      if (t) this.arrays.t.set(t.subarray(from, until), begin);
      rest.forEach((values, i) => this.arrays[`rest${i}`].set(values.subarray(from, until), begin));
      if (s) this.arrays.s.set(s.subarray(from, until), begin);
      else if (this.arrays.s) this.#smoothTail(k, begin, begin + counts[j]);
      this.length[k] += counts[j];
      this.#written(k, begin, begin + counts[j]);
      from = until;
    }
  }

  #smoothAll() {
    this.arrays.s = new Float32Array(this.arrays.x.length).fill(NaN);
    for (const values of Object.values(this.#averages)) values.fill(0);
    for (let k = 0; k < this.count; k++) this.#smoothTail(k, this.start[k], this.start[k] + this.length[k]);
  }

  // Averages the points [begin, end) of a series behind those before them: TensorBoard's average, free of the bias of its start.
  #smoothTail(slot, begin, end) {
    const {y, s} = this.arrays;
    const {weight} = this;
    let last = this.#averages.last[slot];
    let count = this.#averages.count[slot];
    for (let i = begin; i < end; i++) {
      s[i] = y[i];
      if (!Number.isFinite(y[i])) continue;
      last = weight * last + (1 - weight) * y[i];
      count++;
      s[i] = count < UNBIASED ? last / (1 - weight ** count) : last;
    }
    this.#averages.last[slot] = last;
    this.#averages.count[slot] = count;
  }

  #takeAverages({weight, written}) {
    this.weight = weight;
    const {s} = this.arrays;
    for (let k = 0; k < this.count; k++) {
      let at = this.start[k] + this.length[k] - 1;
      while (at >= this.start[k] && !Number.isFinite(s[at])) at--;
      if (at < this.start[k]) continue;
      this.#averages.count[k] = written[k];
      this.#averages.last[k] = s[at] * (1 - weight ** written[k]);
    }
  }

  #written(slot, begin, end) {
    const x = this.arrays.x;
    for (const name of ["x", "y", "s"]) {
      if (this.arrays[`log ${name}`]) this.#computeLog(name, begin, end);
    }
    for (let i = begin; i < end && this.sorted[slot]; i++) {
      if (!(i === this.start[slot] ? x[i] === x[i] : x[i] >= x[i - 1])) this.sorted[slot] = 0;
    }
    if (this.changes?.length < MOST_CHANGES) {
      this.changes.push({slot, begin, end});
    } else {
      this.revision++;
      this.changes = [];
    }
  }

  #computeLog(name, begin, end) {
    const from = this.arrays[name];
    const to = this.arrays[`log ${name}`];
    const origin = this.origin[name === "s" ? "y" : name];
    for (let i = begin; i < end; i++) to[i] = toUnit(from[i], origin, true);
  }

  #makeRoom(slots, counts) {
    const needed = Uint32Array.from(this.length);
    for (let j = 0; j < slots.length; j++) needed[slots[j]] += counts[j];
    if (needed.every((points, k) => points === 0 || points < this.capacity[k])) return;
    // Whatever receives points now will receive more: give it room, so that copying stays amortised.
    const grow = (points, k) => points === this.length[k]
      ? this.capacity[k]
      : Math.max(this.capacity[k], Math.ceil(points * GROWTH), points + LEAST_ROOM);
    this.#layOut(needed.map(grow));
  }

  #layOut(capacity) {
    const start = new Uint32Array(capacity.length);
    let total = 1;
    for (let k = 0; k < capacity.length; k++) {
      start[k] = total;
      total += capacity[k];
    }
    for (const [name, old] of Object.entries(this.arrays)) {
      if (old === null && name === "t") continue; // there is no such column
      const array = new Float32Array(total).fill(NaN);
      for (let k = 0; k < start.length; k++) {
        if (this.length[k]) array.set(old.subarray(this.start[k], this.start[k] + this.length[k]), start[k]);
      }
      this.arrays[name] = array;
    }
    this.start = start;
    this.capacity = capacity;
    this.revision++;
    this.changes = [];
  }

  #allRuns() {
    const runs = [];
    for (let k = 0; k < this.count; k++) {
      if (this.length[k]) runs.push(k, this.start[k], this.start[k] + this.length[k]);
    }
    return Uint32Array.from(runs);
  }

  #selectedRuns() {
    this.#indexTail();
    const runs = Uint32Array.from([...(this.#index.get(NaN) ?? []), ...(this.#index.get(this.selected) ?? [])]);
    for (let r = 0; r < runs.length; r += 3) {
      runs[r + 1] += this.start[runs[r]];
      runs[r + 2] += this.start[runs[r]];
    }
    return runs;
  }

  #indexTail() {
    const t = this.arrays.t;
    if (!this.#index) {
      this.#index = new Map();
      this.#indexed = new Uint32Array(this.count);
    }
    for (let k = 0; t && k < this.count; k++) {
      for (let i = this.#indexed[k]; i < this.length[k];) {
        const value = t[this.start[k] + i];
        let end = i + 1;
        while (end < this.length[k] && isSame(t[this.start[k] + end], value)) end++;
        this.#addRun(value, k, i, end);
        i = end;
      }
      this.#indexed[k] = this.length[k];
    }
  }

  #addRun(value, slot, begin, end) {
    const runs = this.#index.get(value);
    if (!runs) this.#index.set(value, [slot, begin, end]);
    else if (runs.at(-3) === slot && runs.at(-1) === begin) runs[runs.length - 1] = end;
    else runs.push(slot, begin, end);
  }

  #boundAll(total, logX, logY) {
    const n = this.count;
    if (this.#boundsOf?.logX !== logX || this.#boundsOf?.logY !== logY) {
      const values = new Float64Array(4 * n);
      for (let k = 0; k < n; k++) values.set(emptyBounds(), 4 * k);
      this.#boundsOf = {logX, logY, values, points: new Uint32Array(n)};
    }
    const {values, points} = this.#boundsOf;
    for (let k = 0; k < n; k++) {
      this.#bound(values, 4 * k, this.start[k] + points[k], this.start[k] + this.length[k], logX, logY);
      points[k] = this.length[k];
      if (this.visible[k]) widen(total, values, 4 * k);
    }
  }

  #bound(into, at, begin, end, logX, logY) {
    if (begin >= end) return;
    const {x, y} = this.arrays;
    const u = this.units("x", logX);
    const v = this.units("y", logY);
    let [x0, x1, y0, y1] = into.subarray(at, at + 4);
    for (let i = begin; i < end; i++) {
      if (isGap(u[i], v[i])) continue;
      if (x[i] < x0) x0 = x[i];
      if (x[i] > x1) x1 = x[i];
      if (y[i] < y0) y0 = y[i];
      if (y[i] > y1) y1 = y[i];
    }
    into.set([x0, x1, y0, y1], at);
  }
}

const emptyBounds = () => Float64Array.of(Infinity, -Infinity, Infinity, -Infinity);

function widen(total, values, at) {
  total[0] = Math.min(total[0], values[at]);
  total[1] = Math.max(total[1], values[at + 1]);
  total[2] = Math.min(total[2], values[at + 2]);
  total[3] = Math.max(total[3], values[at + 3]);
}

function extended(array, more, value) {
  const longer = new array.constructor(array.length + more).fill(value);
  longer.set(array);
  return longer;
}

function checkPoints(counts, x, y, t) {
  let total = 0;
  for (const c of counts) total += c;
  for (const [name, array] of Object.entries({x, y, t: t ?? x})) {
    if (array.length !== total) throw new RangeError(`${array.length} values of ${name}: the counts say ${total}`);
  }
}

function bisect(sorted, value, begin, end) {
  while (begin < end) {
    const middle = (begin + end) >> 1;
    if (sorted[middle] < value) begin = middle + 1;
    else end = middle;
  }
  return begin;
}
