// What is under the pointer: the nearest point's series and values, beside a ring around the point.

const REACH = 24; // pixels

export class Readout {
  #box = document.getElementById("readout");
  #ring = document.getElementById("marker");
  #pending = null;

  constructor(plots) {
    for (const plot of plots) {
      const figure = plot.cell.querySelector(".figure");
      figure.addEventListener("pointermove", event => this.#ask(plot, event));
      figure.addEventListener("pointerleave", () => this.#ask(null, null));
      figure.addEventListener("pointerdown", () => this.#ask(null, null));
    }
  }

  #ask(plot, event) {
    if (!this.#pending) requestAnimationFrame(() => this.#answer());
    this.#pending = {plot, event};
  }

  #answer() {
    const {plot, event} = this.#pending;
    this.#pending = null;
    const found = plot && event.buttons === 0 ? this.#find(plot, event) : null;
    this.#box.hidden = this.#ring.hidden = !found;
    if (found) this.#show(plot, found);
  }

  #find(plot, event) {
    const {left, top} = plot.view.plot_view.canvas_view.el.getBoundingClientRect();
    const nearest = plot.data.nearest(event.clientX - left, event.clientY - top);
    if (!nearest || nearest.distance_px > REACH) return null;
    const {x_scale, y_scale} = plot.view.plot_view.frame;
    return {...nearest, sx: left + x_scale.compute(nearest.x), sy: top + y_scale.compute(nearest.y)};
  }

  #show(plot, {slot, x, y, sx, sy}) {
    const color = plot.data.color(slot);
    this.#ring.style.cssText = `left:${sx}px;top:${sy}px;background:${color}`;
    this.#box.querySelector(".swatch").style.background = color;
    this.#box.querySelector(".label").textContent = plot.data.label(slot) ?? "";
    const [horizontal, vertical] = plot.columns;
    this.#box.querySelector(".values").textContent = `${horizontal} ${shown(x)}   ${vertical} ${shown(y)}`;
    const {width, height} = this.#box.getBoundingClientRect();
    this.#box.style.left = `${Math.max(4, Math.min(sx + 14, innerWidth - width - 8))}px`;
    this.#box.style.top = `${sy - height - 12 < 4 ? sy + 14 : sy - height - 12}px`;
  }
}

const shown = value => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6))));
