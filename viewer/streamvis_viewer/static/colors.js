// Which colour a label has: one and the same in all plots of the page with the same palette and key function. Knows nothing of the page.

const QUALITATIVE = 20; // longer palettes are scales: labels spread over them in their natural order
// Further rounds through a palette take other shades of it: first what stands out from the page, then the opposite.
const SHADES = {light: [0, -0.4, 0.4], dark: [0, 0.5, -0.3]};
const SEPARATOR = " · "; // between the parts of a label
const VALUE = /^(.*)=(-?(?:[\d.]+(?:e[+-]?\d+)?|inf))$/;
const texts = new Intl.Collator(undefined, {numeric: true});

/** The natural order of labels: part by part, hyperparameters and split columns by their numbers. */
export function compare(a, b) {
  const [ours, theirs] = [a, b].map(label => label.split(SEPARATOR));
  for (let i = 0; i < Math.min(ours.length, theirs.length); i++) {
    const [one, other] = [VALUE.exec(ours[i]), VALUE.exec(theirs[i])];
    const order = one && other && one[1] === other[1] ? Number(one[2]) - Number(other[2]) : texts.compare(ours[i], theirs[i]);
    if (order) return order;
  }
  return ours.length - theirs.length;
}

/** The labels of one palette, numbered as they come. */
class Shared {
  #page;
  #table;
  #scale;
  #numbers = new Map();
  #places = null; // of the labels of a scale; null: to be found anew
  #numeric = null;

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
    this.#places = this.#numeric = null;
    return true;
  }

  /** One not noted yet, in the moment before its plot is refreshed, has that of the first. */
  color(label) {
    const number = this.#numbers.get(label) ?? 0;
    const table = this.#isNumeric() ? this.#scale : this.#table;
    if (table.length > QUALITATIVE) return spread(table, this.#place(label), this.#numbers.size);
    const shades = SHADES[this.#page.dark ? "dark" : "light"];
    return shaded(this.#table[number % this.#table.length], shades[Math.floor(number / this.#table.length) % shades.length]);
  }

  #place(label) {
    this.#places ??= new Map([...this.#numbers.keys()].sort(compare).map((each, place) => [each, place]));
    return this.#places.get(label) ?? 0;
  }

  /** Whether every label is one number of a hyperparameter: a scale then says more than a few hues. */
  #isNumeric() {
    this.#numeric ??= [...this.#numbers.keys()].every(label => !label.includes(SEPARATOR) && VALUE.test(label));
    return this.#numeric && this.#table.length <= QUALITATIVE;
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
