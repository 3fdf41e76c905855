// The list of runs. What it lists is the labels that the colours stand for, or scopes, names or indexes. The search hides what it does not
// find, a click hides and shows, a double click shows alone, pointing fades the others. Only rows in sight are elements.

import {compare} from "./colors.js";
import {iconButton, make, name} from "./dom.js";
import {StyleMenu} from "./stylemenu.js";
import {textOf} from "./visibility.js";

const ROW = 26; // pixels, as in page.css
const BEYOND = 8; // rows outside the window that are made as well
const REST_MS = 200;
const MOST_COLORS = 3;
const LEAST_WIDTH = 160;
const MOST_WIDTH = 800;

export class Panel {
  #plots;
  #state;
  #visibility;
  #styles;
  #colors = new Map(); // text → set of colours
  #texts = []; // those that the search finds, in order
  #scroller = document.getElementById("runs");
  #rows = this.#scroller.querySelector("ul");
  #search = document.getElementById("search");
  #pointed = undefined; // the text under the pointer
  #clicked = undefined; // the text that was clicked last, until the pointer comes to another
  #faded = false;
  #timer = 0;

  constructor(plots, state, visibility, styles) {
    this.#plots = plots;
    this.#styles = styles;
    this.#state = state;
    this.#visibility = visibility;
    this.#wireSearch();
    this.#wireRows();
    this.#wireWidth();
    document.getElementById("group").addEventListener("change", event => this.#state.set({group: event.target.value, runs: ""}));
    document.getElementById("show-all").addEventListener("click", () => visibility.showAll());
    document.getElementById("hide-all").addEventListener("click", () => visibility.hideAll());
    state.watch(["group"], () => this.collect());
    state.watch(["hide", "only", "style", "runs", "group"], () => this.#render());
    const title = plots.map(plot => plot.legend.title).find(text => text);
    if (title) document.querySelector(".panel-head strong").textContent = title;
    if (state.get("panel") === null && plots.every(plot => plot.legend.visible === false)) state.set({panel: 0});
    this.#applyWidth();
  }

  focus() {
    if (this.#state.get("panel") === 0) this.#state.set({panel: null});
    this.#search.focus();
    this.#search.select();
  }

  toggle() {
    this.#state.set({panel: this.#state.get("panel") === 0 ? null : 0});
  }

  /** After series have come, gone or changed their colours. */
  collect() {
    this.#colors = new Map();
    for (const plot of this.#plots.filter(({legend}) => legend.visible !== false)) {
      plot.data.rows.forEach((row, slot) => {
        if (!row) return;
        const text = textOf(row, this.#visibility.group);
        if (!this.#colors.has(text)) this.#colors.set(text, new Set());
        const colors = this.#colors.get(text);
        if (colors.size <= MOST_COLORS) colors.add(plot.color(slot));
      });
    }
    this.#render();
  }

  #render() {
    const {group} = this.#visibility;
    const runs = this.#state.get("runs");
    this.#texts = [...this.#colors.keys()].filter(text => this.#visibility.isFound(text)).sort(compare);
    if (this.#search.value !== runs) this.#search.value = runs;
    this.#search.setCustomValidity(this.#visibility.error);
    document.getElementById("search-error").textContent = this.#visibility.error;
    document.getElementById("group").value = group;
    const all = this.#colors.size;
    document.getElementById("run-count").textContent = this.#texts.length < all ? `${this.#texts.length} of ${all}` : String(all);
    document.getElementById("no-runs").hidden = all === 0 || this.#texts.length > 0;
    this.#rows.style.height = `${ROW * this.#texts.length}px`;
    this.#draw();
  }

  #draw() {
    const first = Math.max(0, Math.floor(this.#scroller.scrollTop / ROW) - BEYOND);
    const count = Math.ceil(this.#scroller.clientHeight / ROW) + 2 * BEYOND;
    const focused = document.activeElement.closest?.("#runs li:has(:focus-visible)")?.dataset.text; // by the keyboard; its row becomes another element
    this.#rows.replaceChildren(...this.#texts.slice(first, first + count).map((text, i) => this.#row(text, first + i)));
    if (focused !== undefined) this.#rowOf(focused)?.querySelector(".run").focus();
  }

  #row(text, place) {
    const swatch = make("i", {className: "swatch"});
    swatch.style.background = stripes([...this.#colors.get(text)].slice(0, MOST_COLORS));
    const on = this.#visibility.isOn(text);
    const toggle = make(
      "button", {type: "button", className: "run", title: text, "aria-pressed": on}, swatch, name(text, "label"),
    );
    const only = make("button", {type: "button", className: "only", title: "Show this one alone (double click)", "aria-label": `Only ${text}`}, "only");
    const style = iconButton("style", "Width, dash and marker (s)");
    style.classList.toggle("chosen", this.#styles.isChosen(text));
    new StyleMenu(style, text, this.#styles, this.#shapes);
    const item = make("li", {}, toggle, only, ...(this.#shapes.size ? [style] : []));
    item.style.top = `${place * ROW}px`;
    item.dataset.text = text;
    return item;
  }

  /** What plots with styles draw: "line", "point". */
  get #shapes() {
    return new Set(this.#plots.map(plot => plot.data.shape).filter(Boolean));
  }

  #rowOf(text) {
    return [...this.#rows.children].find(({dataset}) => dataset.text === text);
  }

  /** Opens the style of the run in focus, or under the pointer. */
  style() {
    const item = document.activeElement.closest?.("#runs li") ?? this.#rowOf(this.#pointed);
    item?.querySelector(".tool")?.click();
  }

  #wireSearch() {
    this.#search.value = this.#state.get("runs");
    this.#search.addEventListener("input", () => this.#state.set({runs: this.#search.value}));
    this.#search.addEventListener("keydown", event => {
      if (event.key !== "Escape") return;
      if (this.#search.value) this.#state.set({runs: ""});
      else this.#search.blur();
    });
  }

  #wireRows() {
    const textAt = event => event.target.closest("li")?.dataset.text;
    this.#rows.addEventListener("click", event => {
      const text = textAt(event);
      if (text === undefined || event.target.closest(".tool")) return;
      clearTimeout(this.#timer);
      this.#fade(null);
      this.#clicked = text;
      // the second click of a double one counts as such: its row is another element than the first one's, and no dblclick may come
      if (event.target.closest(".only") || event.altKey || event.detail === 2) this.#visibility.solo(text);
      else this.#visibility.toggle(text);
    });
    this.#scroller.addEventListener("scroll", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this.#scroller);
    this.#rows.addEventListener("pointerover", event => this.#point(textAt(event)));
    this.#rows.addEventListener("pointerleave", () => this.#point(undefined));
  }

  /** Fades all others once the pointer has rested on a row; a click ends that, so that its effect is seen. */
  #point(text) {
    if (text === this.#pointed) return;
    this.#pointed = text;
    clearTimeout(this.#timer);
    this.#fade(null);
    if (text === undefined || text === this.#clicked) return; // rows that are drawn anew come under the pointer anew
    this.#clicked = undefined;
    if (!this.#visibility.isOn(text)) return;
    const {group} = this.#visibility;
    this.#timer = setTimeout(() => this.#fade(row => textOf(row, group) === text), REST_MS);
  }

  #fade(isPointed) {
    if (isPointed === null && !this.#faded) return;
    this.#faded = isPointed !== null;
    for (const plot of this.#plots) plot.point(isPointed);
  }

  #wireWidth() {
    const edge = document.getElementById("panel-edge");
    const panel = document.getElementById("panel");
    edge.addEventListener("pointerdown", event => {
      edge.setPointerCapture(event.pointerId);
      const {left} = panel.getBoundingClientRect();
      const drag = ({clientX}) => this.#state.set({panel: Math.round(Math.min(Math.max(clientX - left, LEAST_WIDTH), MOST_WIDTH))});
      edge.addEventListener("pointermove", drag);
      edge.addEventListener("pointerup", () => edge.removeEventListener("pointermove", drag), {once: true});
    });
    edge.addEventListener("dblclick", () => this.#state.set({panel: null}));
    document.getElementById("panel-toggle").addEventListener("click", () => this.toggle());
    this.#state.watch(["panel"], () => this.#applyWidth());
  }

  #applyWidth() {
    const width = this.#state.get("panel");
    document.body.classList.toggle("wide", width === 0);
    document.getElementById("panel-toggle").setAttribute("aria-pressed", width !== 0);
    document.documentElement.style.setProperty("--panel", width ? `${width}px` : "");
    if (!width) document.documentElement.style.removeProperty("--panel");
  }
}

function stripes(colors) {
  const width = 100 / colors.length;
  return `linear-gradient(90deg, ${colors.map((c, i) => `${c} ${i * width}% ${(i + 1) * width}%`).join(", ")})`;
}
