// The keyboard, and the page that lists its keys.

import {make} from "./dom.js";

const TYPING = "input, select, textarea";

/** Every key with what it does; `act(page, event)`, where page.at is the plot under the pointer, or the only one. */
const KEYS = [
  ["/", "Find runs", page => page.panel.focus()],
  ["p", "Show or hide the list of runs", page => page.panel.toggle()],
  ["a", "Show all runs", page => page.visibility.showAll()],
  ["s", "Width, dash and marker of the run in focus, or under the pointer", page => page.panel.style()],
  ["space", "Play or pause the sliders", page => page.play()],
  ["←  →", "One step of the sliders", (page, {key}) => page.step(key === "ArrowLeft" ? -1 : 1), ["ArrowLeft", "ArrowRight"]],
  ["r", "Show everything: the plot under the pointer, or all", page => (page.at ? page.ranges.reset(page.at) : page.ranges.resetAll())],
  ["l", "Logarithmic y axis of the plot under the pointer, or of all", page => page.toggleLog("y")],
  ["shift l", "Logarithmic x axis", page => page.toggleLog("x"), ["L"]],
  ["f", "Show the plot under the pointer alone", page => page.grow()],
  ["z", "Dragging zooms into a box, or moves", page => page.toggle("drag", "zoom", "pan")],
  ["o", "Let outliers run out of the picture", page => page.toggle("fit", "robust", "all")],
  ["x", "Zoom the x axes of all plots together", page => page.toggle("link", "x", "none")],
  ["c", "Crosshair", page => page.toggle("cross", "on", "off")],
  ["d", "Light or dark", page => page.theme.toggle()],
  ["?", "These keys", page => page.help.showModal()],
  ["esc", "Close what is open", page => page.leave(), ["Escape"]],
];

const MOUSE = [
  ["drag", "Move a plot; with shift, zoom into a box"],
  ["wheel", "Zoom; over an axis, along it"],
  ["double click", "Show everything"],
  ["click", "Pin the values of a point"],
];

const NAMES = new Map(KEYS.flatMap(([name, , act, codes]) => (codes ?? [name === "space" ? " " : name]).map(code => [code, act])));

export function wireKeys(page) {
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(TYPING) || page.help.open) return;
    if (event.key === " " && event.target.closest("button")) return; // which it presses
    const act = NAMES.get(event.key);
    if (!act) return;
    event.preventDefault();
    act(page, event);
  });
}

/** The dialog that lists all keys. */
export function helpDialog() {
  const row = (keys, does) => make("tr", {}, make("th", {}, ...keys.map(key => make("kbd", {}, key))), make("td", {}, does));
  const table = rows => make("table", {}, make("tbody", {}, ...rows));
  const close = make("button", {type: "button", className: "button plain", onclick: () => dialog.close()}, "Close");
  const dialog = make(
    "dialog", {className: "help", "aria-label": "Keys"},
    make("div", {className: "columns"}, make("section", {}, make("h2", {}, "Keys"), table(KEYS.map(([keys, does]) => row(keys.split(/ +/), does)))), make("section", {}, make("h2", {}, "Mouse"), table(MOUSE.map(([act, does]) => row([act], does))))),
    close,
  );
  dialog.addEventListener("click", event => event.target === dialog && dialog.close());
  document.body.append(dialog);
  return dialog;
}
