// Linear and logarithmic axes, exchanged while one looks.

import {DecadeFormatter, DecadeTicker} from "./decades.js";
import {NumberFormatter} from "./numbers.js";

const {LinearScale} = Bokeh.require("models/scales/linear_scale");
const {LogScale} = Bokeh.require("models/scales/log_scale");
const {LinearAxis} = Bokeh.require("models/axes/linear_axis");
const {CustomJSTickFormatter} = Bokeh.require("models/formatters/customjs_tick_formatter"); // of times
const {LogAxis} = Bokeh.require("models/axes/log_axis");

const OURS = [DecadeFormatter, NumberFormatter, CustomJSTickFormatter];
const STYLE = /^(axis|major|minor|fixed|bounds|visible|level)/; // not ticker and formatter, which belong to the kind of axis

/** Whether "lin", "xlog", "ylog" or "xylog" makes "x" or "y" logarithmic. */
export const isLog = (axes, side) => axes !== "lin" && axes.slice(0, -3).includes(side);

/** The word for a pair of axes. */
export const axesOf = (x, y) => (x || y ? `${x ? "x" : ""}${y ? "y" : ""}log` : "lin");

/** Makes an axis of a figure logarithmic, or linear. The caller then sets a range that it can show. */
export function setLog(figure, side, log) {
  const [scale, place, dimension] = side === "x" ? ["x_scale", "below", 0] : ["y_scale", "left", 1];
  const before = figure[place][0];
  const ticks = () => (log ? {ticker: new DecadeTicker(), formatter: new DecadeFormatter()} : {formatter: new NumberFormatter()});
  if ((figure[scale].type === "LogScale") === log) {
    if (!OURS.some(formatter => before.formatter instanceof formatter)) before.setv(ticks()); // the server's axes have Bokeh's
    return;
  }
  const style = Object.fromEntries(Object.entries(before.attributes).filter(([name]) => STYLE.test(name)));
  const axis = new (log ? LogAxis : LinearAxis)({...style, ...ticks()});
  figure.setv({[scale]: new (log ? LogScale : LinearScale)(), [place]: [axis, ...figure[place].slice(1)]});
  for (const grid of figure.center.filter(each => each.type === "Grid" && each.dimension === dimension)) grid.axis = axis;
}
