// Taking the page elsewhere: as a link, or as a file.

import {copy} from "./clipboard.js";
import {make} from "./dom.js";
import {Menu} from "./menu.js";

export class ShareMenu extends Menu {
  #state;

  #exports;
  #plots;

  constructor(plots, state, exports) {
    super(document.getElementById("share"), "Share", () => this.#items());
    this.#plots = plots;
    this.#state = state;
    this.#exports = exports;
  }

  async #save(button) {
    button.disabled = true;
    button.textContent = "Saving…";
    await this.#exports.page();
    this.close();
  }

  #items() {
    this.#state.flush();
    const address = make("input", {type: "text", readOnly: true, value: location.href, "aria-label": "Link to this view"});
    address.addEventListener("focus", () => address.select());
    const button = make("button", {type: "button", className: "button", onclick: () => copy(location.href).then(() => (button.textContent = "Copied"))}, "Copy link");
    const save = make("button", {type: "button", className: "button plain", onclick: () => this.#save(save)}, "Save page");
    const thinned = this.#plots.some(({data}) => data.thinned) ? " Of plots with millions of points it has a part." : "";
    const what = `One file with all that the page shows. It opens without a viewer; zoom, list and sliders work.${thinned}`;
    return [make("h2", {}, "This view"), make("p", {className: "address"}, address, button), make("h2", {}, "As a file"), make("p", {className: "hint"}, what), save];
  }
}
