// One plot of the page: its data, its ranges, its sliders.

import {PlotData, VALUES} from "./data.js";
import {Ranges} from "./ranges.js";
import {Slider} from "./slider.js";

const LABEL = 3;

export class Plot {
  hidden = new Set(); // labels

  #ranges;
  #sliders;
  #moved = true;

  constructor(view, cell, {columns, legend}) {
    this.view = view;
    this.cell = cell;
    this.columns = columns;
    this.legend = legend;
    this.model = view.plot_view.model;
    this.data = new PlotData(view);
    this.#ranges = new Ranges(this.model, () => this.data.bounds());
    this.#sliders = [...cell.querySelectorAll(".slider")].map((element, i) => new Slider(element, () => this.#slid(i)));
    this.data.onvalues = (i, values) => (values ? this.#sliders[i]?.offer(values) : this.#sliders[i]?.forget());
  }

  get title() {
    return this.model.title.text;
  }

  apply(op, arrays) {
    this.data.apply(op, arrays);
    this.#moved = true;
  }

  /** After a batch of frames: sliders, visibility, ranges. */
  refresh() {
    if (!this.#moved) return;
    this.#moved = false;
    this.data.refresh();
    for (const slider of this.#sliders) slider.refresh();
    this.#mask();
    this.#ranges.fit();
  }

  /** Takes over what a person has hidden. */
  hide(labels) {
    this.hidden = labels;
    this.#mask();
    this.#ranges.fit();
  }

  /** What is said in place of points; `waiting` hides the empty axes as well. */
  say(text, waiting) {
    this.cell.classList.toggle("waiting", waiting);
    const veil = this.cell.querySelector(".veil");
    veil.textContent = text;
    veil.hidden = !text;
  }

  /** Shows and hides series by their labels and by the sliders after the first. */
  #mask() {
    const further = this.#sliders.slice(1);
    this.data.mask(
      row => !this.hidden.has(row[LABEL]) && further.every(({value}, i) => value === null || value === row[VALUES][i]),
    );
  }

  #slid(number) {
    if (number === 0) this.data.select(this.#sliders[0].value);
    else this.#mask();
  }
}
