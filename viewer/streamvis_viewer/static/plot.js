// One plot of the page: its data, its sliders, which of its series are shown, and in which colours.

import {compare, css} from "./colors.js";
import {PlotData} from "./data.js";
import {fitTicks, fitTitle} from "./fit.js";
import {LABEL, VALUES} from "./rows.js";
import {Slider} from "./slider.js";
import {isTime, nameAxis, plain} from "./ticks.js";

const PADDING = 16; // of .figure in page.css, both sides
const TITLE = 36; // pixels above the frame
const FADED = 40; // the alpha of series that are not those pointed at

export class Plot {
  note = null; // what the server says of it

  title; // all of it
  #own; // the schema's columns, and its label of the horizontal axis
  #colors;
  #sharedColors; // those that the key function of the moment leads to
  #controls;
  #sliders = [];
  #pointed = null; // whether a row is among those that a person points at; null: nobody points
  #stale = true;

  /** `controls`: {state, timelines, isShown: row → whether the page's controls show a series, styleOf: row → its own style, keyOf: plot → its key function, if chosen}. */
  constructor(index, view, cell, {title, columns, sliders, legend, palette, key, single, smooths}, colors, controls) {
    this.index = index;
    this.title = title;
    this.view = view;
    this.cell = cell;
    this.#own = {columns, label: view.plot_view.model.below[0].axis_label};
    this.legend = legend;
    this.single = single;
    this.smooths = smooths; // a cloud has no moving average
    this.model = view.plot_view.model;
    this.data = new PlotData(view);
    this.data.sliders = sliders;
    this.data.onvalues = (i, values) => this.#offer(i, values);
    this.#sharedColors = () => colors.of(palette, controls.keyOf(index) ?? key);
    this.#colors = this.#sharedColors();
    this.#controls = controls;
    controls.state.watch(["x"], () => this.nameAxis());
    new ResizeObserver(() => this.fit()).observe(cell.querySelector(".figure"));
    keepQuiet(view.plot_view.canvas_view.shadow_el);
  }

  /** The horizontal and the vertical column. */
  get columns() {
    const [horizontal, ...rest] = this.#own.columns;
    return [this.#controls.state.get("x")[this.index] || horizontal, ...rest];
  }

  /** The columns with a slider, and where they stand. */
  get chosen() {
    return this.#sliders.map(({column, value}) => [column, value]);
  }

  color(slot) {
    return css(this.#colors.color(this.data.label(slot)));
  }

  apply(op, arrays) {
    this.data.apply(op, arrays);
    this.#stale = true;
  }

  /** Tells the palette of new labels; whether that changes colours, perhaps of other plots too. */
  noteLabels() {
    if (!this.data.changed) return false;
    this.#colors = this.#sharedColors();
    return this.#colors.note(new Set(this.data.rows.filter(row => row).map(row => row[LABEL])));
  }

  /** After a batch of frames; whether there was anything new. */
  refresh() {
    if (!this.#stale) return false;
    this.#stale = false;
    this.#fill();
    this.data.refresh();
    if (this.data.changed) {
      this.recolor();
      this.restyle();
    }
    this.mask();
    return true;
  }

  /** Whether the controls and the sliders after the first want a series shown; one without such a column always is. */
  isShown(row) {
    const isChosen = ({value}, i) => value === null || Number.isNaN(row[VALUES][i]) || row[VALUES][i] === value;
    return this.#controls.isShown(row) && this.#sliders.slice(1).every(isChosen);
  }

  get shownRows() {
    return this.data.rows.filter(row => row && this.isShown(row));
  }

  mask() {
    const rows = this.shownRows;
    const only = this.single && rows.length > 1 ? rows.reduce((first, row) => (compare(row[LABEL], first[LABEL]) < 0 ? row : first)) : null;
    const caption = this.cell.querySelector(".caption");
    caption.hidden = !only;
    caption.textContent = only ? `${only[LABEL]}, the first of ${rows.length}` : "";
    this.data.mask(row => (only ? row === only : this.isShown(row)));
  }

  /** Fades the other series while a person points at some; null: no longer. */
  point(isPointed) {
    this.#pointed = isPointed;
    this.recolor();
  }

  recolor() {
    const rgba = new Uint8Array(4 * this.data.rows.length);
    this.data.rows.forEach((row, slot) => {
      if (row) rgba.set([...this.#colors.color(row[LABEL]), !this.#pointed || this.#pointed(row) ? 255 : FADED], 4 * slot);
    });
    this.data.recolor(rgba);
  }

  /** Gives each series its width, dash and marker. */
  restyle() {
    this.data.restyle(row => this.#controls.styleOf(row));
  }

  /** Also after another kind of axis has taken the place of the horizontal one. */
  nameAxis() {
    const chosen = this.#controls.state.get("x")[this.index];
    const own = !chosen || chosen === this.#own.columns[0];
    nameAxis(this.model.below[0], own ? this.#own.label : plain(chosen), isTime(this.columns[0]));
    this.fit();
  }

  /** Takes the figure's size into account, and its axes. */
  fit() {
    const {clientWidth, clientHeight} = this.cell.querySelector(".figure");
    if (!clientWidth) return; // another plot fills the page
    const {min_border_left: left, min_border_right: right, min_border_bottom: below, title} = this.model;
    const width = clientWidth - left - right - PADDING;
    const tools = this.cell.querySelector(".tools");
    const covered = tools && getComputedStyle(tools).opacity > 0 ? tools.offsetWidth : 0;
    fitTicks(this.model.below[0], "x", width);
    fitTicks(this.model.left[0], "y", clientHeight - below - TITLE);
    fitTitle(title, this.title, title.align === "left" ? width - covered : width);
  }

  /** What is said in place of points; `waiting` hides the empty axes as well. */
  say(text, waiting) {
    this.cell.classList.toggle("waiting", waiting);
    const veil = this.cell.querySelector(".veil");
    veil.textContent = text;
    veil.hidden = !text;
  }

  /** Sliders for the columns that have one now. */
  #fill() {
    const columns = this.data.sliders;
    if (columns.join() === this.#sliders.map(({column}) => column).join()) return;
    for (const slider of this.#sliders) slider.remove();
    const {timelines, state} = this.#controls;
    this.#sliders = columns.map((column, i) => new Slider(column, timelines.of(column), state, () => this.#slid(i)));
    this.cell.querySelector(".sliders").replaceChildren(...this.#sliders.map(({element}) => element));
  }

  #offer(i, values) {
    this.#fill();
    if (values) this.#sliders[i]?.values.offer(values);
    else this.#sliders[i]?.forget();
  }

  #slid(number) {
    if (number === 0) this.data.select(this.#sliders[0].value);
    else this.mask();
  }
}

/** Bokeh frames a figure that was clicked as if by its keys one had come there; browsers too, once shift is held for a box. */
function keepQuiet(root) {
  const style = root.appendChild(document.createElement("style"));
  style.textContent = ".bk-events:focus:not(:focus-visible), .bk-events.clicked:focus { outline: none; }";
  root.addEventListener("pointerdown", ({target}) => target.classList.add("clicked"));
  root.addEventListener("focusout", ({target}) => target.classList.remove("clicked"));
}
