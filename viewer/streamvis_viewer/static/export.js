// Pictures and tables of one plot, and the page as a file.

import {call} from "./call.js";
import {elided} from "./fit.js";
import {INDEX, NAME, SCOPE} from "./rows.js";
import {part} from "./status.js";
import {toast} from "./toast.js";

const ROW = 20; // of the legend, CSS pixels
const SIDES = 40; // pixels beside a label: its square, and what is left free
const FONT = "12px sans-serif";
const MOST_LABELS = 40;

/** Hands a file to the person. */
function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A plot's name as a file may have it. */
const fileName = (plot, kind) => `${plot.title.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 80) || "plot"}.${kind}`;

/** What `draw` makes while the screen seems to have at least two pixels per CSS pixel: pictures are looked at closely. */
function sharply(draw) {
  const own = Object.getOwnPropertyDescriptor(window, "devicePixelRatio");
  Object.defineProperty(window, "devicePixelRatio", {value: Math.max(2, devicePixelRatio), configurable: true});
  try {
    return draw();
  } finally {
    Object.defineProperty(window, "devicePixelRatio", own);
  }
}

/** The plot as a PNG, with the labels of what is drawn below it. */
async function asPng(plot, background, ink) {
  const layer = sharply(() => plot.view.plot_view.export("png"));
  const ratio = layer.pixel_ratio;
  const entries = legend(plot, layer.bbox.width);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [layer.bbox.width * ratio, (layer.bbox.height + entries.height) * ratio];
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = background;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(layer.canvas, 0, 0);
  ctx.scale(ratio, ratio);
  ctx.font = FONT;
  ctx.textBaseline = "middle";
  for (const {x, y, color, text} of entries.items) {
    ctx.fillStyle = color;
    ctx.fillRect(x, layer.bbox.height + y - 5, 10, 10);
    ctx.fillStyle = ink;
    ctx.fillText(text, x + 16, layer.bbox.height + y);
  }
  return new Promise(resolve => canvas.toBlob(resolve, "image/png"));
}

/** The plot as an SVG of vectors. */
async function asSvg(plot, background, ink) {
  const {canvas: svg, bbox: {width, height}} = plot.view.plot_view.export("svg");
  const entries = legend(plot, width);
  const total = height + entries.height;
  svg.setAttribute("width", width);
  svg.setAttribute("height", total);
  svg.setAttribute("viewBox", `0 0 ${width} ${total}`);
  const make = (name, attributes, text = "") => {
    const element = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  svg.prepend(make("rect", {width, height: total, fill: background}));
  for (const {x, y, color, text} of entries.items) {
    svg.append(make("rect", {x, y: height + y - 5, width: 10, height: 10, fill: color}));
    svg.append(make("text", {x: x + 16, y: height + y, fill: ink, "font-family": "sans-serif", "font-size": 12, "dominant-baseline": "central"}, text));
  }
  return new Blob([new XMLSerializer().serializeToString(svg)], {type: "image/svg+xml"});
}

/** What is shown of a plot, in full precision, from the viewer. */
async function asCsv(plot, token) {
  return call(token, "csv", {series: plot.shownRows.map(([scope, name, index]) => [scope, name, index])}, "blob");
}

/** The points that the page itself holds: all that a saved page has. */
function heldCsv(plot) {
  const cell = value => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = [["scope", "name", "index", ...plot.columns]];
  plot.data.rows.forEach((row, slot) => {
    if (!row || !plot.isShown(row)) return;
    const {x, y, rest} = plot.data.held(slot);
    x.forEach((value, i) => lines.push([row[SCOPE], row[NAME], row[INDEX], value, y[i], ...rest.map(values => values[i])]));
  });
  return new Blob(lines.map(line => `${line.map(String).map(cell).join(",")}\n`), {type: "text/csv"});
}

/** The whole page, with its points, as one file that opens without a viewer. */
const asPage = (token, search) => call(token, `save?${search}`, undefined, "blob");

/** Labels with their colours, laid out in columns below a picture of this width. */
function legend(plot, width) {
  const colors = new Map();
  plot.data.rows.forEach((row, slot) => row && plot.isShown(row) && colors.set(plot.data.label(slot), plot.color(slot)));
  const ctx = document.createElement("canvas").getContext("2d");
  ctx.font = FONT;
  const labels = [...colors].slice(0, MOST_LABELS).map(([text, color]) => [elided(ctx, text, width - SIDES), color]);
  const widest = Math.max(0, ...labels.map(([text]) => ctx.measureText(text).width)) + SIDES;
  const columns = Math.max(1, Math.floor((width - SIDES) / widest));
  const items = labels.map(([text, color], i) => ({text, color, x: 20 + (i % columns) * widest, y: ROW * (Math.floor(i / columns) + 0.5)}));
  if (colors.size > MOST_LABELS) items.push({text: `and ${colors.size - MOST_LABELS} more`, color: "transparent", x: 20, y: ROW * (Math.ceil(labels.length / columns) + 0.5)});
  return {items, height: items.length ? Math.max(...items.map(({y}) => y)) + ROW : 0};
}

/** What a person can take away from the page. */
export class Exports {
  #settings;
  #state;

  constructor(settings, state) {
    this.#settings = settings;
    this.#state = state;
  }

  /** Whether the page is a file itself. */
  get saved() {
    return Boolean(this.#settings.saved);
  }

  async plot(plot, kind) {
    const look = getComputedStyle(plot.cell);
    const make = {
      png: () => asPng(plot, look.backgroundColor, look.color),
      svg: () => asSvg(plot, look.backgroundColor, look.color),
      csv: () => (this.saved ? heldCsv(plot) : asCsv(plot, this.#settings.token)),
    }[kind];
    await this.#hand(fileName(plot, kind), make);
    if (this.saved && kind === "csv" && plot.data.thinned) toast(`${part(plot.data)}: this page was saved with no more.`);
  }

  async page() {
    await this.#hand("streamvis.html", () => asPage(this.#settings.token, this.#state.search));
  }

  async #hand(name, make) {
    try {
      download(name, await make());
    } catch (error) {
      toast(error.message);
    }
  }
}
