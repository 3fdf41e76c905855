// A line at the bottom of the page that says what has happened, with what can be done about it.

import {make} from "./dom.js";

/** Shows a text and perhaps buttons, instead of the one before; gives the element whose text it is. */
export function toast(text, ...buttons) {
  document.querySelector(".toast")?.remove();
  const line = make("span", {}, text);
  const close = make("button", {type: "button", className: "quiet", onclick: () => element.remove()}, "Close");
  const element = make("div", {className: "toast", role: "status"}, line, ...buttons, close);
  document.body.append(element);
  return {line, element};
}
