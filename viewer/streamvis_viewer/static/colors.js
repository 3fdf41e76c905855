// Which colour a label has: one and the same in all plots of the page with the same palette and key function. Knows nothing of the page.

const QUALITATIVE = 20; // longer palettes are scales: labels spread over them in their natural order
// Further rounds through a palette take other shades of it: first what stands out from the page, then the opposite.
const SHADES = {light: [0, -0.4, 0.4], dark: [0, 0.5, -0.3]};
const NUMBERED = /^[^·]*=(-?[\d.]+(?:e[+-]?\d+)?)$/; // the label of a series that goes by one numeric hyperparameter

export const {compare} = new Intl.Collator(undefined, {numeric: true});

/** The labels of one palette, numbered as they come. */
class Shared {
  #page;
  #table;
  #scale;
  #numbers = new Map();
  #places = null; // of the labels of a scale; null: not up to date

  constructor(palette, scale, page) {
    this.#page = page;
    this.#table = palette.map(bytes);
    this.#scale = scale.map(bytes);
  }

  /** Whether other labels have another colour now. */
  note(labels) {
    const before = this.#numbers.size;
    for (const label of labels) {
      if (!this.#numbers.has(label)) this.#numbers.set(label, this.#numbers.size);
    }
    if (this.#numbers.size === before) return false;
    this.#places = null;
    return true;
  }

  color(label) {
    const number = this.#numbers.get(label);
    const values = this.#asNumbers();
    if (values) return spread(this.#scale, this.#place(label, (a, b) => values.get(a) - values.get(b)), this.#numbers.size);
    if (this.#table.length > QUALITATIVE) return spread(this.#table, this.#place(label, compare), this.#numbers.size);
    const shades = SHADES[this.#page.dark ? "dark" : "light"];
    return shaded(this.#table[number % this.#table.length], shades[Math.floor(number / this.#table.length) % shades.length]);
  }

  #place(label, order) {
    this.#places ??= new Map([...this.#numbers.keys()].sort(order).map((each, place) => [each, place]));
    return this.#places.get(label);
  }

  /** The labels' numbers, where every label is one value of a hyperparameter and a scale says more than a few hues. */
  #asNumbers() {
    if (this.#table.length > QUALITATIVE || !this.#scale.length) return null;
    const values = new Map();
    for (const label of this.#numbers.keys()) {
      const match = NUMBERED.exec(label);
      if (!match) return null;
      values.set(label, Number(match[1]));
    }
    return values;
  }
}

export class Colors {
  dark = false; // whether the page is
  #shared = new Map();
  #scale;

  /** `scale`: what numeric hyperparameters are coloured by where the palette is none. */
  constructor(scale) {
    this.#scale = scale;
  }

  /** The colours of plots with this palette, whose labels come from this key function. */
  of(palette, keyFunction) {
    const key = `${keyFunction} ${palette}`;
    if (!this.#shared.has(key)) this.#shared.set(key, new Shared(palette, this.#scale, this));
    return this.#shared.get(key);
  }
}

const bytes = color => [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));

const spread = (table, place, count) => table[Math.round((place * (table.length - 1)) / Math.max(count - 1, 1))];

function shaded(color, shade) {
  return color.map(part => Math.round(shade < 0 ? part * (1 + shade) : part + (255 - part) * shade));
}

export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
