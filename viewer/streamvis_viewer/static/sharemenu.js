// Taking the page elsewhere: as a link, or as a file.

import {copy} from "./clipboard.js";
import {make} from "./dom.js";
import {Menu} from "./menu.js";

export class ShareMenu extends Menu {
  #state;

  constructor(state) {
    super(document.getElementById("share"), "Share", () => this.#items());
    this.#state = state;
  }

  #items() {
    this.#state.flush();
    const address = make("input", {type: "text", readOnly: true, value: location.href, "aria-label": "Link to this view"});
    address.addEventListener("focus", () => address.select());
    const button = make("button", {type: "button", className: "button", onclick: () => copy(location.href).then(() => (button.textContent = "Copied"))}, "Copy link");
    return [make("h2", {}, "This view"), make("p", {className: "address"}, address, button)];
  }
}
