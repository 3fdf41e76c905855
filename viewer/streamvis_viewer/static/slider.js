// A slider over the distinct values of a column. It stays at the latest value until a person moves it away from there.

const PLAY_MS = 120;

export class Slider {
  #values = [];
  #known = new Set();
  #unsorted = false;
  #latest = true;
  #shown = null;
  #timer = 0;

  constructor(element, moved) {
    this.input = element.querySelector("input");
    this.output = element.querySelector("output");
    this.button = element.querySelector("button");
    this.moved = moved;
    this.input.addEventListener("input", () => {
      this.#stop();
      this.#go(this.input.valueAsNumber);
    });
    this.button.addEventListener("click", () => (this.#timer ? this.#stop() : this.#play()));
  }

  /** The chosen value; null while there is none. */
  get value() {
    return this.#shown;
  }

  forget() {
    this.#values = [];
    this.#known = new Set();
  }

  /** Values that occur; runs of equal ones cost next to nothing. */
  offer(values) {
    let last;
    for (const value of values) {
      if (value === last || value !== value) continue;
      last = value;
      if (this.#known.has(value)) continue;
      this.#known.add(value);
      this.#unsorted ||= this.#values.length > 0 && value < this.#values.at(-1);
      this.#values.push(value);
    }
  }

  refresh() {
    if (this.#unsorted) this.#values.sort((a, b) => a - b);
    this.#unsorted = false;
    const end = this.#values.length - 1;
    this.input.max = Math.max(end, 0);
    this.input.disabled = end < 1;
    const kept = this.#values.indexOf(this.#shown);
    this.#go(this.#latest || kept < 0 ? end : kept);
  }

  #go(place) {
    this.#latest = place >= this.#values.length - 1 && !this.#timer;
    const value = this.#values[place] ?? null;
    this.input.value = place;
    this.output.textContent = value === null ? "–" : String(Number(value.toPrecision(7)));
    if (value === this.#shown) return;
    this.#shown = value;
    this.moved();
  }

  #play() {
    this.button.textContent = "❚❚";
    this.button.title = "Pause";
    this.#timer = setInterval(() => this.#go((this.input.valueAsNumber + 1) % Math.max(this.#values.length, 1)), PLAY_MS);
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.button.textContent = "▶";
    this.button.title = "Play";
    this.#latest = this.input.valueAsNumber >= this.#values.length - 1;
  }
}
