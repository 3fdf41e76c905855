// Asks the server for what the window of a plot needs; one question at a time, a moment after there is something to ask.

const PAUSE_MS = 60;
const MARGIN = 0.5; // of the window, on each side, so that it may move a little

export class Looks {
  #layer;
  #send;
  #active = false; // whether the layer has levels of detail at all
  #colored = false;
  #rgba = new Uint8Array(0);
  #shown = null; // slots; null: all
  #value = null;
  #asked = null; // the last question
  #number = 0;
  #waiting = false; // for its answer
  #timer = 0;

  constructor(layer, send) {
    this.#layer = layer;
    this.#send = send;
    layer.onpaint = () => this.refresh();
  }

  /** The points were sent anew; `colored`: the server makes images of them, for which it needs their colours. */
  reset(thinned, colored) {
    this.#active = "wants" in this.#layer;
    this.#colored = thinned && colored;
    this.#waiting = false;
  }

  /** Asks, unless there is nothing more to see. */
  refresh() {
    if (!this.#active || this.#timer || this.#waiting || !this.#layer.wants) return;
    this.#timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  masked(shown) {
    this.#shown = shown;
    this.refresh();
  }

  selected(value) {
    this.#value = value;
    this.refresh();
  }

  recolored(rgba) {
    this.#rgba = rgba;
    if (this.#colored && this.#asked && this.#asked.rgb !== this.#colors()) this.#ask();
  }

  /** What the question of this number was about; null where another one was asked since. */
  answered(number) {
    if (this.#asked?.number !== number) return null;
    this.#waiting = false;
    return this.#asked;
  }

  #ask() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const {view} = this.#layer;
    if (!view) return;
    const look = {
      ask: ++this.#number,
      x: widened(view.x, view.log[0]),
      y: widened(view.y, view.log[1]),
      log: view.log,
      size: [view.width, view.height].map(pixels => Math.round(pixels * (1 + 2 * MARGIN))),
      value: this.#value,
      slots: this.#shown,
      rgb: this.#colored ? this.#colors() : "",
    };
    const slots = this.#shown && new Uint8Array(this.#layer.count);
    this.#shown?.forEach(slot => (slots[slot] = 1));
    const asked = {...view, width: look.size[0], height: look.size[1]};
    this.#asked = {number: this.#number, view: asked, slots, value: this.#value, rgb: look.rgb};
    this.#waiting = true;
    this.#send(look);
  }

  #colors() {
    const slots = this.#shown ?? Array.from({length: this.#rgba.length / 4}, (_, slot) => slot);
    const hex = value => value.toString(16).padStart(2, "0");
    return slots.map(slot => Array.from(this.#rgba.subarray(4 * slot, 4 * slot + 3), hex).join("")).join("");
  }
}

function widened([low, high], log) {
  if (log) {
    const factor = (high / low) ** MARGIN;
    return [low / factor, high * factor];
  }
  return [low - MARGIN * (high - low), high + MARGIN * (high - low)];
}
