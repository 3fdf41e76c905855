// Small panels that hang from a button of the page's head.

import {make, whenLeft} from "./dom.js";

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
    const {bottom, right} = this.#button.getBoundingClientRect();
    this.#panel.style.top = `${bottom + 6}px`;
    this.#panel.style.right = `${Math.max(8, innerWidth - right - 4)}px`;
    this.#button.setAttribute("aria-expanded", true);
    this.#stop = whenLeft([this.#panel, this.#button], () => this.close());
    this.#panel.querySelector("input, select, button")?.focus();
  }

  close() {
    if (!this.#panel) return;
    this.#stop();
    this.#panel.remove();
    this.#panel = null;
    this.#button.setAttribute("aria-expanded", false);
  }

  /** An element of it, if it is open. */
  find(selector) {
    return this.#panel?.querySelector(selector) ?? null;
  }

  /** Its children anew, if it is open. */
  refresh() {
    this.#panel?.replaceChildren(...this.#fill());
  }
}
