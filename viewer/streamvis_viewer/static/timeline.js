// The values of one column that sliders move over, and the clock that plays them: sliders over a column move in step in all plots.

/** Distinct values in ascending order, cheap to offer again and again. */
export class Values {
  sorted = [];
  #known = new Set();
  #unsorted = false;

  /** Runs of equal values cost next to nothing. */
  offer(values) {
    let last;
    for (const value of values) {
      if (value === last || value !== value) continue;
      last = value;
      if (this.#known.has(value)) continue;
      this.#known.add(value);
      this.#unsorted ||= this.sorted.length > 0 && value < this.sorted.at(-1);
      this.sorted.push(value);
    }
  }

  settle() {
    if (this.#unsorted) this.sorted.sort((a, b) => a - b);
    this.#unsorted = false;
    return this;
  }

  /** The latest value that is not beyond this one; the first where there is none; null where there are none at all. */
  upTo(value) {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sorted[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return this.sorted[Math.max(low - 1, 0)] ?? null;
  }
}

/** One column: where its sliders stand. It stays at the latest value until a person moves it away from there. */
export class Timeline {
  values = [];
  value = null;

  #column;
  #state;
  #members = new Set(); // {values: Values, moved(value, timeline)}
  #timer = 0;

  constructor(column, state) {
    this.#column = column;
    this.#state = state;
    state.watch(["at"], () => this.#place());
    state.watch(["speed"], () => this.playing && this.play());
  }

  get playing() {
    return this.#timer !== 0;
  }

  get index() {
    return this.values.indexOf(this.value);
  }

  join(member) {
    this.#members.add(member);
  }

  leave(member) {
    this.#members.delete(member);
  }

  /** After values were offered to members. */
  refresh() {
    const all = new Set([...this.#members].flatMap(({values}) => values.settle().sorted));
    if (all.size !== this.values.length || this.values.some(value => !all.has(value))) {
      this.values = [...all].sort((a, b) => a - b);
    }
    this.#place();
  }

  /** To the value at this place among all of them; the last one is followed from then on. */
  go(index) {
    const at = {...this.#state.get("at")};
    delete at[this.#column];
    if (index < this.values.length - 1 || this.playing) at[this.#column] = short(this.values[index]);
    this.#state.set({at});
    this.#place();
  }

  step(by) {
    this.pause();
    this.go(Math.min(Math.max(this.index + by, 0), this.values.length - 1));
  }

  play() {
    clearInterval(this.#timer);
    const next = () => this.go((this.index + 1) % Math.max(this.values.length, 1));
    this.#timer = setInterval(next, 1000 / this.#state.get("speed"));
    this.#tell();
  }

  pause() {
    if (!this.playing) return;
    clearInterval(this.#timer);
    this.#timer = 0;
    this.go(this.index);
    this.#tell();
  }

  #place() {
    const wanted = this.#state.get("at")[this.#column];
    this.value = wanted === undefined ? (this.values.at(-1) ?? null) : nearest(this.values, wanted);
    this.#tell();
  }

  #tell() {
    for (const member of this.#members) member.moved(this.value);
  }
}

/** The value that an address means: it may have been written with fewer digits. */
function nearest(sorted, wanted) {
  let best = null;
  for (const value of sorted) {
    if (best === null || Math.abs(value - wanted) < Math.abs(best - wanted)) best = value;
  }
  return best;
}

/** The timelines of the page, by column. */
export class Timelines {
  #state;
  #all = new Map();

  constructor(state) {
    this.#state = state;
  }

  of(column) {
    if (!this.#all.has(column)) this.#all.set(column, new Timeline(column, this.#state));
    return this.#all.get(column);
  }

  get all() {
    return [...this.#all.values()].filter(({values}) => values.length > 1);
  }

  refresh() {
    for (const timeline of this.#all.values()) timeline.refresh();
  }
}

const short = value => Number(value.toPrecision(7)); // values travel as float32

export const shownValue = value => (value === null ? "–" : String(short(value)));
