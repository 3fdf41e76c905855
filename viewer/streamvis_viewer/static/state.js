// How the page's controls stand, mirrored in its address: a copied link reopens the same view. Knows nothing of the page.
// docs/urls.md describes the keys, layout.py checks them.

const WRITE_MS = 200; // browsers refuse more than some hundred changes of an address in half a minute

/** What the server must know when it changes. */
export const SERVER_KEYS = ["scopes", "names", "x", "axes", "color", "filter", "ignore", "window", "stride", "smooth"];

const text = {read: ([value]) => value, write: value => [value]};
const texts = {read: values => values, write: values => values};
const number = {read: ([value]) => Number(value), write: value => [String(value)]};
const list = {read: ([value]) => value.split(",").map(part => part.trim()).filter(Boolean), write: parts => [parts.join(",")]};

/** One item per plot. */
const perPlot = (read, write) => ({
  read: ([value]) => value.split(",").map(part => read(part.trim())),
  write: items => [items.map(write).join(",")],
});

const pairOf = part => part.split(":").map(Number);
const range = perPlot(part => (part && pairOf(part).every(Number.isFinite) ? pairOf(part) : null), pair => (pair ? pair.join(":") : ""));

const KEY_FUNCTION = /,((?:\((?:\\.|[^()\\])*\)|[^,])*)/gs; // of which no comma within parentheses is an end, as in query.py

/** Columns with a value each; a column's name may hold a colon. */
const values = {
  read: ([value]) => Object.fromEntries(value.split(",").map(pair => [pair.slice(0, pair.lastIndexOf(":")), Number(pair.slice(pair.lastIndexOf(":") + 1))])),
  write: chosen => [Object.entries(chosen).map(pair => pair.join(":")).join(",")],
};

const CODECS = {
  scopes: text,
  names: texts,
  x: perPlot(part => part, part => part),
  axes: perPlot(part => part, part => part),
  window: number,
  stride: number,
  filter: list,
  ignore: list,
  color: {read: ([value]) => [...`,${value}`.matchAll(KEY_FUNCTION)].map(([, part]) => part.trim()), write: parts => [parts.join(",")]},
  smooth: number,
  xrange: range,
  yrange: range,
  fit: text,
  at: values,
  speed: number,
  group: text,
  runs: text,
  hide: texts,
  only: texts,
  style: texts,
  link: text,
  cross: text,
  drag: text,
  focus: number,
  theme: text,
  panel: {read: ([value]) => (value === "off" ? 0 : Number(value)), write: pixels => [pixels ? String(pixels) : "off"]},
};

export class State {
  #pairs; // the address as it was opened, where keys that nobody changes stay as they are
  #defaults;
  #values = {};
  #watchers = [];
  #timer = 0;
  #write;

  /** `plots`: how many there are. `write(search)` puts the query into the address. */
  constructor(search, plots, write) {
    this.#pairs = new URLSearchParams(search);
    this.#write = write;
    this.#defaults = {
      scopes: ".*", names: [], x: Array(plots).fill(""), axes: Array(plots).fill("lin"), window: 0, stride: 0, filter: [], ignore: [], color: [], smooth: 0,
      xrange: Array(plots).fill(null), yrange: Array(plots).fill(null), fit: "all", at: {}, speed: 8,
      group: "label", runs: "", hide: [], only: [], style: [], link: "none", cross: "on", drag: "pan", focus: 0, theme: "auto", panel: null,
    };
    for (const key of Object.keys(CODECS)) this.#values[key] = this.#read(this.#pairs, key);
  }

  #read(pairs, key) {
    const given = pairs.getAll(key);
    return given.length ? CODECS[key].read(given) : this.#defaults[key];
  }

  get(key) {
    return this.#values[key];
  }

  /** Changes some keys, tells whom it concerns, and writes the address a little later. */
  set(changes) {
    const changed = Object.keys(changes).filter(key => !equal(changes[key], this.#values[key]));
    if (!changed.length) return;
    for (const key of changed) {
      this.#values[key] = changes[key];
      const written = equal(changes[key], this.#defaults[key]) ? [] : CODECS[key].write(changes[key]);
      this.#pairs.delete(key);
      for (const value of written) this.#pairs.append(key, value);
    }
    for (const {keys, act} of this.#watchers) {
      if (keys.some(key => changed.includes(key))) act();
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), WRITE_MS);
  }

  /** Changes one plot's item of a key that has one for each. */
  setItem(key, index, item) {
    this.set({[key]: this.#values[key].map((before, i) => (i === index ? item : before))});
  }

  reset(...keys) {
    this.set(Object.fromEntries(keys.map(key => [key, this.#defaults[key]])));
  }

  /** Takes back what made the server's query another, but for what has changed again since; gives the keys of that. */
  undo(before, after) {
    const [old, now] = [new URLSearchParams(before), new URLSearchParams(after)];
    const keys = SERVER_KEYS.filter(key => !equal(this.#read(old, key), this.#read(now, key)) && equal(this.#read(now, key), this.#values[key]));
    this.set(Object.fromEntries(keys.map(key => [key, this.#read(old, key)])));
    return keys;
  }

  /** Calls `act` whenever one of the keys has changed. */
  watch(keys, act) {
    this.#watchers.push({keys, act});
  }

  /** Writes the address now. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#write(this.search);
  }

  /** The query of the address, without the question mark. */
  get search() {
    return [...this.#pairs].map(([key, value]) => `${key}=${encoded(value)}`).join("&");
  }
}

const equal = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** As little escaped as may be: addresses are read and edited by people. */
function encoded(value) {
  return encodeURIComponent(value).replace(/%(2C|3B|3A|2F|40|7C|24)/g, decodeURIComponent);
}

/** A number with as many digits as a range of this extent needs. */
export function rounded(value, extent) {
  if (!(extent > 0)) return value;
  const digits = Math.min(Math.max(Math.ceil(Math.log10(Math.abs(value) / extent || 1)) + 5, 5), 17);
  return Number(value.toPrecision(digits));
}
