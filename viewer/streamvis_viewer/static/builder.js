// Lays out a page of plots: a small picture of it, whose borders can be dragged, and its address.

import {iconButton, make} from "./dom.js";

const LEAST = 0.15; // of what two neighbours have together

export class Builder {
  direction = "rows";
  tracks = []; // {weight, cells: [{plot, weight}]}

  #element;
  #changed;

  /** `changed()` is called after every change. */
  constructor(element, changed) {
    this.#element = element;
    this.#changed = changed;
  }

  get count() {
    return this.tracks.reduce((sum, {cells}) => sum + cells.length, 0);
  }

  /** Two in a row. */
  fill(plots) {
    this.direction = "rows";
    const wide = plots.length < 3 ? 1 : 2;
    this.tracks = [];
    for (let i = 0; i < plots.length; i += wide) this.tracks.push(track(...plots.slice(i, i + wide)));
    this.#draw();
  }

  /** Puts a plot beside or below the last one. */
  add(plot, beside) {
    const inTrack = beside === (this.direction === "rows");
    if (inTrack && this.tracks.length) this.tracks.at(-1).cells.push({plot, weight: 1});
    else this.tracks.push(track(plot));
    this.#draw();
  }

  clear() {
    this.tracks = [];
    this.#draw();
  }

  /** Rows become columns. */
  turn() {
    this.direction = this.direction === "rows" ? "cols" : "rows";
    this.#draw();
  }

  /** Plots that exist no more disappear. */
  keep(exists) {
    const before = this.count;
    for (const each of this.tracks) each.cells = each.cells.filter(({plot}) => exists(plot));
    this.tracks = this.tracks.filter(({cells}) => cells.length);
    if (this.count !== before) this.#draw();
  }

  /** The part of the address that says where the plots stand. */
  get query() {
    const grid = this.tracks.map(({cells}) => cells.map(({plot}) => encoded(plot)).join(",")).join(";");
    const inner = weights(this.tracks.flatMap(({cells}) => cells));
    const outer = weights(this.tracks);
    const [width, height] = this.direction === "rows" ? [inner, outer] : [outer, inner];
    return [`${this.direction}=${grid}`, width && `width=${width}`, height && `height=${height}`].filter(Boolean).join("&");
  }

  #draw() {
    const rows = this.direction === "rows";
    this.#element.className = rows ? "rows" : "cols";
    this.#element.replaceChildren(...between(this.tracks.map((each, i) => this.#track(each, i)), i => this.#handle(this.tracks, i, rows)));
    if (!this.tracks.length) this.#element.append(make("p", {}, "Add plots from the list below."));
    this.#changed();
  }

  #track(each, i) {
    const boxes = each.cells.map((cell, j) => this.#box(cell, i, j));
    const element = make("div", {className: "track"}, ...between(boxes, j => this.#handle(each.cells, j, this.direction !== "rows")));
    element.style.flexGrow = each.weight;
    return element;
  }

  #box(cell, i, j) {
    const box = make("div", {className: "box", draggable: true, title: `${cell.plot}\nDrag onto another plot to exchange them.`}, make("bdi", {}, cell.plot));
    box.append(iconButton("close", `Remove ${cell.plot}`, () => this.#remove(i, j)));
    box.style.flexGrow = cell.weight;
    box.addEventListener("dragstart", event => event.dataTransfer.setData("text/plain", `${i} ${j}`));
    box.addEventListener("dragover", event => event.preventDefault());
    box.addEventListener("drop", event => {
      event.preventDefault();
      this.#exchange(cell, event.dataTransfer.getData("text/plain").split(" ").map(Number));
    });
    return box;
  }

  #remove(i, j) {
    this.tracks[i].cells.splice(j, 1);
    if (!this.tracks[i].cells.length) this.tracks.splice(i, 1);
    this.#draw();
  }

  #exchange(cell, [i, j]) {
    const other = this.tracks[i]?.cells[j];
    if (!other) return;
    [cell.plot, other.plot] = [other.plot, cell.plot];
    this.#draw();
  }

  /** The border after the i-th of some items, which shares out what the two beside it have. */
  #handle(items, i, vertical) {
    const handle = make("i", {className: "handle", title: "Drag to resize, double-click for equal parts"});
    handle.addEventListener("pointerdown", event => {
      event.preventDefault();
      handle.setPointerCapture(event.pointerId);
      const [before, after] = [handle.previousElementSibling.getBoundingClientRect(), handle.nextElementSibling.getBoundingClientRect()];
      const [low, high] = vertical ? [before.top, after.bottom] : [before.left, after.right];
      const together = items[i].weight + items[i + 1].weight;
      handle.onpointermove = ({clientX, clientY}) => {
        const share = Math.min(Math.max(((vertical ? clientY : clientX) - low) / (high - low), LEAST), 1 - LEAST);
        items[i].weight = rounded(together * share);
        items[i + 1].weight = rounded(together - items[i].weight);
        handle.previousElementSibling.style.flexGrow = items[i].weight;
        handle.nextElementSibling.style.flexGrow = items[i + 1].weight;
        this.#changed();
      };
      handle.onpointerup = () => (handle.onpointermove = null);
    });
    handle.addEventListener("dblclick", () => {
      for (const item of items) item.weight = 1;
      this.#draw();
    });
    return handle;
  }
}

const track = (...plots) => ({weight: 1, cells: plots.map(plot => ({plot, weight: 1}))});

const rounded = weight => Math.round(weight * 20) / 20;

const weights = items => (items.every(({weight}) => weight === items[0].weight) ? "" : items.map(({weight}) => weight).join(","));

const between = (elements, make) => elements.flatMap((element, i) => (i < elements.length - 1 ? [element, make(i)] : [element]));

/** A plot's name as the address has it. */
export const encoded = text => encodeURIComponent(text).replaceAll("%2F", "/").replaceAll("%3A", ":");
