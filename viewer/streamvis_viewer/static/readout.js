// What is under the pointer: the nearest point's series and values, the crosshair through it in all plots, and what a click has pinned.

import {copy} from "./clipboard.js";
import {iconButton, make} from "./dom.js";
import {isTime, timeText} from "./ticks.js";

const REACH = 24; // pixels
const STILL = 4; // pixels that the pointer may move during a click

export class Readout {
  #plots;
  #state;
  #box = make("div", {className: "readout", hidden: true});
  #ring = make("i", {className: "ring", hidden: true});
  #lines = new Map(); // plot → [vertical, horizontal]
  #pins = [];
  #asked = null;
  #down = null;

  constructor(plots, state) {
    this.#plots = plots;
    this.#state = state;
    document.body.append(this.#box, this.#ring);
    for (const plot of plots) {
      const figure = plot.cell.querySelector(".figure");
      this.#lines.set(plot, ["across", "up"].map(name => figure.appendChild(make("i", {className: `cross ${name}`, hidden: true}))));
      figure.addEventListener("pointermove", event => this.#ask(plot, event));
      figure.addEventListener("pointerleave", () => this.#ask(null, null));
      figure.addEventListener("pointerdown", event => {
        this.#down = event;
        this.#ask(null, null);
      });
      figure.addEventListener("click", event => this.#click(plot, event));
      plot.view.plot_view.repainted.connect(() => this.#placePins(plot));
    }
    state.watch(["cross"], () => this.#ask(null, null));
  }

  /** Closes what is pinned; whether anything was. */
  clear() {
    const some = this.#pins.length > 0;
    for (const {card, ring} of this.#pins.splice(0)) [card, ring].forEach(element => element.remove());
    return some;
  }

  #ask(plot, event) {
    if (!this.#asked) requestAnimationFrame(() => this.#answer());
    this.#asked = {plot, event};
  }

  #answer() {
    const {plot, event} = this.#asked;
    this.#asked = null;
    const idle = plot && event.buttons === 0;
    const found = idle ? find(plot, event) : null;
    this.#box.hidden = this.#ring.hidden = !found;
    if (found) this.#show(plot, found);
    this.#cross(idle ? plot : null, event, found);
  }

  #show(plot, found) {
    const color = plot.color(found.slot);
    this.#ring.style.background = color;
    this.#box.replaceChildren(...parts(plot, found));
    place(this.#box, this.#ring, found.left, found.top);
  }

  #cross(plot, event, found) {
    const on = plot && this.#state.get("cross") === "on";
    const at = on ? (found ?? dataAt(plot, event)) : null;
    for (const other of this.#plots) {
      const [across, up] = this.#lines.get(other);
      const {x, y} = at && (other === plot || other.columns[0] === plot.columns[0]) ? screenOf(other, at, false) : {};
      draw(across, other === plot ? y : undefined, other, "top", "left", "width");
      draw(up, x, other, "left", "top", "height");
    }
  }

  #click(plot, event) {
    const moved = !this.#down || Math.hypot(event.clientX - this.#down.clientX, event.clientY - this.#down.clientY) > STILL;
    const found = moved || event.target.closest(".readout") ? null : find(plot, event);
    if (!found) return;
    const same = this.#pins.findIndex(pin => pin.plot === plot && pin.slot === found.slot && pin.x === found.x && pin.y === found.y);
    if (same >= 0) this.#unpin(this.#pins[same]);
    else this.#pin(plot, found);
  }

  #pin(plot, found) {
    const text = [plot.title, plot.data.label(found.slot), ...values(plot, found).map(pair => pair.join(" "))].join("\t");
    const card = make("div", {className: "readout pinned"}, ...parts(plot, found));
    const ring = make("i", {className: "ring pinned"});
    ring.style.background = plot.color(found.slot);
    const pin = {plot, slot: found.slot, x: found.x, y: found.y, card, ring};
    card.append(
      iconButton("copy", "Copy as text", event => copy(text).then(() => event.target.closest("button").classList.add("done"))),
      iconButton("close", "Close (Esc closes all)", () => this.#unpin(pin)),
    );
    plot.cell.querySelector(".figure").append(card, ring);
    this.#pins.push(pin);
    this.#placePins(plot);
    this.#ask(null, null);
  }

  #unpin(pin) {
    this.#pins.splice(this.#pins.indexOf(pin), 1);
    pin.card.remove();
    pin.ring.remove();
  }

  #placePins(plot) {
    for (const {card, ring, ...at} of this.#pins.filter(pin => pin.plot === plot)) {
      const {x, y} = screenOf(plot, at, false);
      const inside = contains(plot, x, y);
      card.hidden = ring.hidden = !inside;
      if (!inside) continue;
      ring.style.left = `${x}px`;
      ring.style.top = `${y}px`;
      const {clientWidth} = card.parentElement;
      card.style.left = `${Math.max(4, Math.min(x + 12, clientWidth - card.offsetWidth - 4))}px`;
      card.style.top = `${y - card.offsetHeight - 10 < 2 ? y + 12 : y - card.offsetHeight - 10}px`;
    }
  }
}

/** Where a plot's canvas lies in the window. */
const canvasOf = plot => plot.view.plot_view.canvas_view.el.getBoundingClientRect();

/** The nearest point, and where it is in the window. */
function find(plot, event) {
  const {left, top} = canvasOf(plot);
  const nearest = plot.data.nearest(event.clientX - left, event.clientY - top);
  if (!nearest || nearest.distance_px > REACH) return null;
  const {x_scale, y_scale, bbox} = plot.view.plot_view.frame;
  const within = (low, value, high) => Math.min(Math.max(value, low), high); // the middle of a large cell may lie outside
  return {
    ...nearest,
    left: left + within(bbox.left, x_scale.compute(nearest.x), bbox.right),
    top: top + within(bbox.top, y_scale.compute(nearest.y), bbox.bottom),
  };
}

function dataAt(plot, event) {
  const {left, top} = canvasOf(plot);
  const {x_scale, y_scale, bbox} = plot.view.plot_view.frame;
  const [sx, sy] = [event.clientX - left, event.clientY - top];
  return bbox.contains(sx, sy) ? {x: x_scale.invert(sx), y: y_scale.invert(sy)} : null;
}

/** Pixels within the figure's element. */
function screenOf(plot, {x, y}) {
  const canvas = canvasOf(plot);
  const figure = plot.cell.querySelector(".figure").getBoundingClientRect();
  const {x_scale, y_scale} = plot.view.plot_view.frame;
  return {x: canvas.left - figure.left + x_scale.compute(x), y: canvas.top - figure.top + y_scale.compute(y)};
}

function frameOf(plot) {
  const canvas = canvasOf(plot);
  const figure = plot.cell.querySelector(".figure").getBoundingClientRect();
  const {left, top, width, height} = plot.view.plot_view.frame.bbox;
  return {left: canvas.left - figure.left + left, top: canvas.top - figure.top + top, width, height};
}

function contains(plot, x, y) {
  const {left, top, width, height} = frameOf(plot);
  return x >= left && x <= left + width && y >= top && y <= top + height;
}

/** A line of the crosshair at `where` along one side, as long as the frame; hidden outside it. */
function draw(line, where, plot, side, start, extent) {
  const frame = where === undefined ? null : frameOf(plot);
  const low = frame?.[side];
  const inside = frame && where >= low && where <= low + frame[side === "left" ? "width" : "height"];
  line.hidden = !inside;
  if (!inside) return;
  line.style[side] = `${where}px`;
  line.style[start] = `${frame[start]}px`;
  line.style[extent] = `${frame[extent]}px`;
}

function place(box, ring, left, top) {
  ring.style.left = `${left}px`;
  ring.style.top = `${top}px`;
  const {width, height} = box.getBoundingClientRect();
  box.style.left = `${Math.max(4, Math.min(left + 14, innerWidth - width - 8))}px`;
  box.style.top = `${top - height - 12 < 4 ? top + 14 : top - height - 12}px`;
}

function values(plot, {x, y, raw, rest = []}) {
  const [horizontal, vertical, ...further] = plot.columns;
  const pairs = [[horizontal, isTime(horizontal) ? timeText(x, 1) : shown(x)], [vertical, shown(y)], ...rest.map((value, i) => [further[i], shown(value)])];
  return raw === undefined || raw === y ? pairs : [...pairs, ["raw", shown(raw)]];
}

function parts(plot, found) {
  const swatch = make("i", {className: "swatch"});
  swatch.style.background = plot.color(found.slot);
  return [
    swatch,
    make("bdi", {className: "label"}, plot.data.label(found.slot) ?? ""),
    ...values(plot, found).map(([name, value]) => make("span", {className: "value"}, make("small", {}, name), ` ${value}`)),
  ];
}

const shown = value => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6))));
