// What the plots ask of the data: colours, scopes, windows, and what becomes of the columns that are not drawn.

import {make} from "./dom.js";
import {Menu} from "./menu.js";

const KEYS = [["", "as in the schema"], ["s", "scope"], ["n", "name"], ["i", "index"], ["sn", "scope and name"], ["si", "scope and index"], ["sni", "scope, name and index"]];
const MOST_POINTS = 2 ** 31 - 1; // as in layout.py
const FATES = [["lines", "a line for each value"], ["filter", "slider"], ["ignore", "ignored"]];

export class DataMenu extends Menu {
  #plots;
  #state;
  #note = {configs: [], columns: [], horizontal: []};

  constructor(plots, state) {
    super(document.getElementById("data"), "Columns, windows and colours", () => this.#items());
    this.#plots = plots;
    this.#state = state;
  }

  /** `configs`: hyperparameters that the scopes have. `columns`: those that are not drawn. `horizontal`: those that may be. */
  show({configs, columns, horizontal}) {
    const note = {configs, columns, horizontal};
    if (JSON.stringify(note) === JSON.stringify(this.#note)) return;
    this.#note = note;
    this.refresh();
  }

  /** Says below a key's field why it is not taken; whether it has such a field in sight. */
  refuse(key, text) {
    const input = this.find(`[name="${key}"]`);
    input?.setCustomValidity(text);
    input?.after(make("p", {className: "error", role: "alert"}, text));
    return Boolean(input);
  }

  #items() {
    return [
      make("h2", {}, "Horizontal axis"), this.#horizontal(),
      make("h2", {}, "Colour by"), this.#colour(),
      ...(this.#note.columns.length ? [make("h2", {}, "Other columns"), ...this.#note.columns.map(column => this.#column(column))] : []),
      make("h2", {}, "Mean of windows"), this.#windows(),
      make("h2", {}, "Scopes"), this.#scopes(),
    ];
  }

  /** Of all plots that have the chosen column. */
  #horizontal() {
    const now = this.#state.get("x");
    const chosen = now.find(column => column) ?? "";
    const known = [...new Set(["", ...this.#note.horizontal.flat().sort(), chosen])];
    const menu = make("select", {"aria-label": "Horizontal axis"}, ...known.map(value => make("option", {value, selected: value === chosen}, value || "as in the schema")));
    menu.addEventListener("change", () => {
      this.#state.set({x: now.map((column, i) => (!menu.value || this.#note.horizontal[i]?.includes(menu.value) ? menu.value : column))});
    });
    return menu;
  }

  #colour() {
    const chosen = this.#state.get("color")[0] ?? "";
    const known = [...KEYS, ...this.#note.configs.map(key => [`(${key.replace(/[()\\]/g, "\\$&")})`, key])];
    if (!known.some(([key]) => key === chosen)) known.push([chosen, chosen]);
    const menu = make("select", {"aria-label": "Colour by"}, ...known.map(([value, name]) => make("option", {value, selected: value === chosen}, name)));
    menu.addEventListener("change", () => {
      this.#state.set({color: menu.value ? this.#plots.map(() => menu.value) : []});
    });
    return menu;
  }

  #column(column) {
    const [filter, ignore] = [this.#state.get("filter"), this.#state.get("ignore")];
    const chosen = filter.includes(column) ? "filter" : ignore.includes(column) ? "ignore" : "lines";
    const menu = make("select", {"aria-label": column}, ...FATES.map(([value, name]) => make("option", {value, selected: value === chosen}, name)));
    const without = list => list.filter(each => each !== column);
    menu.addEventListener("change", () => {
      this.#state.set({
        filter: [...without(filter), ...(menu.value === "filter" ? [column] : [])],
        ignore: [...without(ignore), ...(menu.value === "ignore" ? [column] : [])],
      });
    });
    return make("label", {className: "row"}, make("span", {title: column}, column), menu);
  }

  #windows() {
    const field = (key, label) => {
      const input = make("input", {type: "number", min: 1, max: MOST_POINTS, step: 1, value: this.#state.get(key) || "", placeholder: key === "window" ? "off" : "same", "aria-label": label});
      return [make("span", {}, label), input];
    };
    const [windowLabel, size] = field("window", "points");
    const [strideLabel, stride] = field("stride", "every");
    const read = input => (input.value === "" ? 0 : input.valueAsNumber);
    for (const input of [size, stride]) {
      input.addEventListener("change", () => {
        if (input.reportValidity()) this.#state.set({window: read(size), stride: read(size) ? read(stride) : 0});
      });
    }
    return make("div", {className: "row"}, make("label", {}, windowLabel, size), make("label", {}, strideLabel, stride));
  }

  #scopes() {
    const input = make("input", {type: "text", name: "scopes", value: this.#state.get("scopes"), spellcheck: false, "aria-label": "Scopes, a regular expression"});
    input.addEventListener("input", () => {
      input.setCustomValidity("");
      input.parentNode.querySelector(".error")?.remove();
    });
    input.addEventListener("change", () => this.#state.set({scopes: input.value || ".*"}));
    return input;
  }
}
