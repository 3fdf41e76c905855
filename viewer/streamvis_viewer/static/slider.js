// One slider below a plot: a place in its column's timeline.

import {icon, make} from "./dom.js";
import {Values, shownValue} from "./timeline.js";

const SPEEDS = [1, 2, 4, 8, 16, 30];

export class Slider {
  values = new Values(); // those that occur in this plot
  value = null; // the one that this plot shows
  element;

  #timeline;
  #onmoved;
  #input = make("input", {type: "range", min: 0, max: 0, value: 0, step: 1, disabled: true});
  #output = make("output", {}, "–");
  #play = make("button", {type: "button", className: "tool play"});
  #speed;
  #picture = "";

  /** `onmoved()`: `value` has changed. */
  constructor(column, timeline, state, onmoved) {
    this.column = column;
    this.#timeline = timeline;
    this.#onmoved = onmoved;
    this.#input.setAttribute("aria-label", column);
    this.#input.addEventListener("input", () => {
      timeline.pause();
      timeline.go(this.#input.valueAsNumber);
    });
    this.#play.addEventListener("click", () => (timeline.playing ? timeline.pause() : timeline.play()));
    this.#speed = speedMenu(state);
    this.element = make(
      "div", {className: "slider", "data-column": column}, this.#play, make("span", {className: "column", title: column}, column), this.#input, this.#output, this.#speed,
    );
    timeline.join(this);
    this.moved(null);
  }

  /** The values so far occur no more. */
  forget() {
    this.values = new Values();
  }

  remove() {
    this.#timeline.leave(this);
    this.element.remove();
  }

  /** The timeline stands at this value. */
  moved(value) {
    const {values, index, playing} = this.#timeline;
    const picture = `${values.length} ${index} ${playing}`;
    if (picture !== this.#picture) this.#draw(value, values, index, playing);
    this.#picture = picture;
    const own = value === null ? null : this.values.upTo(value);
    if (own === this.value) return;
    this.value = own;
    this.#onmoved();
  }

  #draw(value, values, index, playing) {
    this.element.hidden = !values.length;
    this.#input.max = Math.max(values.length - 1, 0);
    this.#input.disabled = values.length < 2;
    this.#input.value = index;
    this.#output.textContent = shownValue(value);
    this.#play.replaceChildren(icon(playing ? "pause" : "play"));
    this.#play.title = playing ? "Pause (space)" : "Play (space)";
    this.#play.setAttribute("aria-label", this.#play.title);
    this.#play.disabled = values.length < 2;
  }
}

function speedMenu(state) {
  const menu = make("select", {className: "speed", title: "Steps per second", "aria-label": "Steps per second"});
  const show = () => {
    const speed = state.get("speed");
    const speeds = SPEEDS.includes(speed) ? SPEEDS : [...SPEEDS, speed].sort((a, b) => a - b);
    menu.replaceChildren(...speeds.map(each => make("option", {value: each, selected: each === speed}, `${each}/s`)));
  };
  menu.addEventListener("change", () => state.set({speed: Number(menu.value)}));
  state.watch(["speed"], show);
  show();
  return menu;
}
