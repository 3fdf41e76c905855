// What there is room for in a figure: ticks, and so much of the title.

import {plain} from "./ticks.js";

const APART = {x: 56, y: 34}; // pixels from tick to tick, at least
const MOST = 6; // ticks that are desired, as Bokeh does

/** A text with an ellipsis where it would be wider, in the current font of a canvas. */
export function elided(ctx, text, width) {
  if (ctx.measureText(text).width <= width) return text;
  const letters = [...text];
  let [low, high] = [0, letters.length]; // that many fit, that many do not
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ctx.measureText(`${letters.slice(0, middle).join("")}…`).width <= width) low = middle;
    else high = middle;
  }
  return `${letters.slice(0, low).join("").trimEnd()}…`;
}

/** Desires as many ticks as have room along an axis of so many pixels. */
export function fitTicks(axis, side, pixels) {
  const {ticker} = axis;
  if ("desired_num_ticks" in ticker) ticker.desired_num_ticks = Math.max(2, Math.min(MOST, Math.floor(pixels / APART[side])));
}

/** Shows as much of a title as has room in so many pixels. */
export function fitTitle(title, full, pixels) {
  const ctx = document.createElement("canvas").getContext("2d");
  ctx.font = `${title.text_font_style.replace("normal", "")} ${title.text_font_size} ${title.text_font}`;
  const text = full.split("\n").map(line => plain(elided(ctx, line, pixels))).join("\n");
  if (title.text !== text) title.text = text;
}
