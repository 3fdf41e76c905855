// Making elements. Text is always text, never HTML.

/** An element with properties (attributes where there is a dash) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const TAIL = 14; // characters of a long name's end that always show
const LONG = 24;
const LEFTWARDS = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff]/; // and what turns directions

/** A name of which, where it is too long for its place, the beginning and the end are shown: names of runs often differ in their ends. */
export function name(text, className = "") {
  const characters = text.length > LONG && !LEFTWARDS.test(text) ? Array.from(text.slice(-4 * TAIL)).slice(-TAIL) : [];
  const end = characters.join("");
  if (!end.trim()) return make("bdi", {className}, text);
  return make("span", {className: `name ${className}`.trim()}, make("bdi", {}, text.slice(0, -end.length)), make("bdi", {}, end));
}

const SVG = "http://www.w3.org/2000/svg";

/** One of the icons that the page's template holds. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.appendChild(document.createElementNS(SVG, "use")).setAttribute("href", `#i-${name}`);
  return svg;
}

/** A button with an icon; `title` says what it does, and which key does the same. */
export function iconButton(name, title, onclick) {
  return make("button", {type: "button", className: "tool", title, onclick, "aria-label": title}, icon(name));
}

/** Calls `act` when the pointer goes down outside these elements, or Escape is pressed. Returns what ends that. */
export function whenLeft(elements, act) {
  const pointer = event => elements.some(element => element.contains(event.target)) || act();
  const key = event => event.key === "Escape" && act();
  addEventListener("pointerdown", pointer, true);
  addEventListener("keydown", key, true);
  return () => {
    removeEventListener("pointerdown", pointer, true);
    removeEventListener("keydown", key, true);
  };
}
