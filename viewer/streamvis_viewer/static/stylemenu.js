// The small panel in which a series gets a width, a dash or a marker of its own.

import {DASHES, DASH_NAMES} from "./canvas.js";
import {make} from "./dom.js";
import {Menu} from "./menu.js";
import {MARKERS} from "./markers.js";

const WIDTHS = [[0.5, "½"], [1, "1"], [2, "2"], [3, "3"], [5, "5"]];
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {circle: "M8 3.5a4.5 4.5 0 100 9a4.5 4.5 0 100-9", square: "M4 4h8v8H4z", triangle: "M8 3l5 8.7H3z"};

export class StyleMenu extends Menu {
  #styles;
  #text;
  #shapes;

  /** `shapes`: what the plots draw, "line" and "point" among them. */
  constructor(button, text, styles, shapes) {
    super(button, `How ${text} is drawn`, () => this.#items());
    this.#text = text;
    this.#styles = styles;
    this.#shapes = shapes;
  }

  #items() {
    const {width = 1, dash = "solid", marker = ""} = this.#styles.chosen(this.#text);
    const [lines, points] = ["line", "point"].map(shape => this.#shapes.has(shape));
    const choose = style => () => {
      this.#styles.choose(this.#text, {width, dash, marker, ...style});
      this.refresh();
    };
    const size = !lines ? "Size" : points ? "Width and size" : "Width";
    const reset = make("button", {type: "button", className: "quiet", onclick: choose({width: 1, dash: "solid", marker: ""})}, "As the plot");
    return [
      make("h2", {}, make("bdi", {}, this.#text)),
      choice(`${size}, times the plot's`, WIDTHS.map(([value, name]) => [`${value} times`, name, value === width, choose({width: value})])),
      ...(lines ? [choice("Line", DASH_NAMES.map((name, i) => [name, picture("M1 8h38", 40, DASHES[i]), name === dash, choose({dash: name})]))] : []),
      ...(points ? [choice("Marker", ["", ...MARKERS].map(name => [name || "the plot's own", name ? picture(SHAPES[name], 16) : "auto", name === marker, choose({marker: name})]))] : []),
      make("p", {className: "end"}, reset),
    ];
  }
}

/** Buttons of which one is pressed: [what it is called, what it shows, whether it is pressed, what it does]. */
function choice(label, options) {
  const buttons = options.map(([name, content, pressed, onclick]) =>
    make("button", {type: "button", className: "tool", title: name, "aria-label": name, "aria-pressed": pressed, onclick}, content),
  );
  return make("div", {className: "choice"}, make("span", {}, label), make("div", {role: "group", "aria-label": label}, ...buttons));
}

function picture(path, width, dash = []) {
  const svg = document.createElementNS(SVG, "svg");
  const drawn = svg.appendChild(document.createElementNS(SVG, "path"));
  const attributes = [[svg, {viewBox: `0 0 ${width} 16`, width, height: 16, class: "sample", "aria-hidden": "true"}], [drawn, {d: path, "stroke-dasharray": dash.join(" ")}]];
  for (const [element, values] of attributes) {
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
  }
  if (width === 16) svg.classList.add("solid");
  return svg;
}
