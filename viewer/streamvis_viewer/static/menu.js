// Small panels that hang from a button of the page's head.

import {make, whenLeft} from "./dom.js";

const GAP = 6; // pixels between a button and its panel
const FOCUSABLE = "input, select, button";
const EDGE = 8; // pixels to the window's edge

/** Opens and closes a panel below a button; `fill()` gives its children each time that it opens. */
export class Menu {
  #button;
  #fill;
  #panel = null;
  #stop = null;

  constructor(button, label, fill) {
    this.#button = button;
    this.#fill = fill;
    this.label = label;
    button.addEventListener("click", () => (this.#panel ? this.close() : this.open()));
  }

  open() {
    this.#panel = make("div", {className: "menu", role: "dialog", "aria-label": this.label}, ...this.#fill());
    document.body.append(this.#panel);
    this.#place(this.#button.getBoundingClientRect());
    this.#button.setAttribute("aria-expanded", true);
    this.#stop = whenLeft([this.#panel, this.#button], () => this.close());
    (this.#panel.querySelector(".choice [aria-pressed=true]") ?? this.#panel.querySelector(FOCUSABLE))?.focus();
  }

  /** Below the button, its right edges in line, within the window; above where there is no room below. */
  #place({top, bottom, right}) {
    const {offsetWidth, offsetHeight, style} = this.#panel;
    const below = bottom + GAP;
    style.top = `${below + offsetHeight <= innerHeight ? below : Math.max(GAP, top - GAP - offsetHeight)}px`;
    style.left = `${Math.max(EDGE, Math.min(right + 4, innerWidth - EDGE) - offsetWidth)}px`;
  }

  close() {
    if (!this.#panel) return;
    this.#stop();
    const focused = this.#panel.contains(document.activeElement);
    this.#panel.remove();
    if (focused) this.#button.focus();
    this.#panel = null;
    this.#button.setAttribute("aria-expanded", false);
  }

  /** An element of it, if it is open. */
  find(selector) {
    return this.#panel?.querySelector(selector) ?? null;
  }

  /** Its children anew, if it is open; what had the focus keeps it. */
  refresh() {
    if (!this.#panel) return;
    const focused = [...this.#panel.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
    this.#panel.replaceChildren(...this.#fill());
    this.#panel.querySelectorAll(FOCUSABLE)[focused]?.focus();
  }
}
