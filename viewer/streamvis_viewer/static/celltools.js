// The buttons of each plot: its axes, its window, its picture.

import {iconButton, make} from "./dom.js";
import {Menu} from "./menu.js";
import {axesOf, isLog} from "./scales.js";

const EXPORTS = [["png", "Picture (PNG)"], ["svg", "Vectors (SVG)"], ["csv", "Points (CSV)"]];

/** What a person can do with one plot; `keys.js` calls the same. */
export class CellTools {
  #plot;
  #state;
  #ranges;
  #logs;
  #grow;

  constructor(plot, state, ranges, exports) {
    this.#plot = plot;
    this.#state = state;
    this.#ranges = ranges;
    this.#logs = {x: this.#logButton("x"), y: this.#logButton("y")};
    this.#grow = iconButton("grow", "Show this plot alone (f)", () => this.grow());
    const take = iconButton("download", "Save as PNG, SVG or CSV", () => {});
    const item = ([kind, text]) => make("button", {type: "button", className: "item", onclick: () => exports.plot(plot, kind).then(() => menu.close())}, text);
    const menu = new Menu(take, "Save this plot", () => EXPORTS.map(item));
    const tools = make(
      "div", {className: "tools"}, this.#logs.x, this.#logs.y,
      iconButton("fit", "Show everything (r, or double-click)", () => this.#ranges.reset(plot)), take, this.#grow,
    );
    plot.cell.prepend(tools);
    this.tools = tools;
    state.watch(["axes"], () => this.#show());
    state.watch(["focus"], () => this.#show());
    this.#show();
  }

  toggleLog(side) {
    const axes = this.#state.get("axes")[this.#plot.index];
    const log = {x: isLog(axes, "x"), y: isLog(axes, "y")};
    log[side] = !log[side];
    this.#state.setItem("axes", this.#plot.index, axesOf(log.x, log.y));
  }

  grow() {
    const number = this.#plot.index + 1;
    this.#state.set({focus: this.#state.get("focus") === number ? 0 : number});
  }

  #logButton(side) {
    const title = `Logarithmic ${side} axis (${side === "y" ? "l" : "shift+l"})`;
    return make("button", {type: "button", className: "tool text", title, "aria-label": title, onclick: () => this.toggleLog(side)}, `log ${side}`);
  }

  #show() {
    const axes = this.#state.get("axes")[this.#plot.index];
    for (const side of ["x", "y"]) this.#logs[side].setAttribute("aria-pressed", isLog(axes, side));
    const focus = this.#state.get("focus");
    const alone = focus === this.#plot.index + 1;
    this.#plot.cell.classList.toggle("alone", alone);
    this.#plot.cell.classList.toggle("away", focus > 0 && !alone);
    this.#grow.setAttribute("aria-pressed", alone);
  }
}
