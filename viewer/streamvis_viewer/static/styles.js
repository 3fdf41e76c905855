// How single series are drawn, other than their plot: widths, dashes and markers. The address names them by the kind of text that the
// list of runs lists, as those that are hidden: style=l:dashed,2:LABEL.

import {DASH_NAMES} from "./canvas.js";
import {MARKERS} from "./markers.js";
import {AT} from "./visibility.js";

/** What multiplies the width of a line, or the size of a marker, when nothing else is said. */
const USUAL = 1;

export class Styles {
  #state;
  #chosen = new Map(); // "l:LABEL" → words

  /** `changed()` is called after every change. */
  constructor(state, changed) {
    this.#state = state;
    const read = () => (this.#chosen = new Map(state.get("style").map(parted)));
    state.watch(["style"], () => {
      read();
      changed();
    });
    read();
  }

  /** What was chosen for a text of the list: {width, dash, marker}, names and a number; what is missing is the plot's. */
  chosen(text) {
    return meaning(this.#chosen.get(this.#key(text)) ?? []);
  }

  isChosen(text) {
    return this.#chosen.has(this.#key(text));
  }

  choose(text, {width = USUAL, dash = "solid", marker = ""}) {
    const words = [...(dash === "solid" ? [] : [dash]), ...(marker ? [marker] : []), ...(width === USUAL ? [] : [String(width)])];
    const chosen = new Map(this.#chosen);
    if (words.length) chosen.set(this.#key(text), words);
    else chosen.delete(this.#key(text));
    this.#state.set({style: [...chosen].map(([key, words]) => `${key.slice(0, 2)}${words.join(",")}:${key.slice(2)}`)});
  }

  /** The style of a row, in numbers; null: the plot's. */
  of(row) {
    if (!this.#chosen.size) return null;
    const words = Object.keys(AT).flatMap(kind => this.#chosen.get(`${kind}:${row[AT[kind]]}`) ?? []);
    if (!words.length) return null;
    const {width = USUAL, dash = "solid", marker = ""} = meaning(words);
    return {width, dash: DASH_NAMES.indexOf(dash), marker: MARKERS.indexOf(marker) + 1};
  }

  #key(text) {
    return `${this.#state.get("group")[0]}:${text}`;
  }
}

function parted(value) {
  const end = value.indexOf(":", 2);
  return [value.slice(0, 2) + value.slice(end + 1), value.slice(2, end).split(",")];
}

function meaning(words) {
  const style = {};
  for (const word of words) style[DASH_NAMES.includes(word) ? "dash" : MARKERS.includes(word) ? "marker" : "width"] = word;
  if (style.width) style.width = Number(style.width);
  return style;
}
