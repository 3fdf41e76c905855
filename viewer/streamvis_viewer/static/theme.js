// Light and dark. The server styles figures for a light page; what a schema has set stays.

const DARK = {"#1d2430": "#e6e9ef", "#4a5363": "#aab3c2", "#c3c9d3": "#454d5c", "#e7eaef": "#2b313c"};
const LIGHT = Object.fromEntries(Object.entries(DARK).map(([light, dark]) => [dark, light]));

const browser = matchMedia("(prefers-color-scheme: dark)");

/** Keeps page and figures in the scheme that the state says, or else the browser. */
export class Theme {
  #state;
  #figures;
  #changed;
  #dark = false; // what the figures are styled for

  /** `changed(dark)`: the page now is dark, or light. */
  constructor(state, figures, changed) {
    this.#state = state;
    this.#figures = figures;
    this.#changed = changed;
    browser.addEventListener("change", () => this.apply());
    state.watch(["theme"], () => this.apply());
    this.apply();
  }

  get dark() {
    const theme = this.#state.get("theme");
    return theme === "auto" ? browser.matches : theme === "dark";
  }

  toggle() {
    const wanted = !this.dark;
    this.#state.set({theme: wanted === browser.matches ? "auto" : wanted ? "dark" : "light"});
  }

  /** Also after axes have been exchanged. */
  apply() {
    const theme = this.#state.get("theme");
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    if (this.dark === this.#dark) return;
    this.#dark = this.dark;
    for (const figure of this.#figures) parts(figure).forEach(part => exchange(part, this.dark ? DARK : LIGHT));
    this.#changed(this.dark);
  }
}

const parts = figure => [figure.title, ...figure.below, ...figure.left, ...figure.right, ...figure.center].filter(part => part);

function exchange(part, table) {
  const changes = {};
  for (const name of Object.keys(part.attributes)) {
    if (name.endsWith("_color") && part.attributes[name] in table) changes[name] = table[part.attributes[name]];
  }
  part.setv(changes);
}
