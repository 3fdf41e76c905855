// What stands along an axis: its name, and for Unix times the time of day.

import {NumberFormatter} from "./numbers.js";

const {BasicTicker} = Bokeh.require("models/tickers/basic_ticker");
const {AdaptiveTicker} = Bokeh.require("models/tickers/adaptive_ticker");
const {CompositeTicker} = Bokeh.require("models/tickers/composite_ticker");
const {CustomJSTickFormatter} = Bokeh.require("models/formatters/customjs_tick_formatter");

const TIMES = new Set(["time", "wall_time", "timestamp"]);
const [MINUTE, HOUR, DAY] = [60, 3600, 86400];

/** Whether a column by its name holds Unix seconds. */
export const isTime = column => TIMES.has(column);

/** Text that Bokeh shows as it stands: figures.plain in another language. */
export const plain = text => text.replaceAll("$$", "$\u200b$").replaceAll("\\[", "\\\u200b[").replaceAll("\\(", "\\\u200b(");

/** Seconds since 1970 as text; `step` is the distance of neighbouring ticks. */
export function timeText(seconds, step) {
  const date = new Date(1000 * seconds);
  if (!(Math.abs(seconds) > 1e8) || Number.isNaN(date.getTime())) return String(Number(seconds.toPrecision(7)));
  const clock = {hour: "2-digit", minute: "2-digit", ...(step < MINUTE ? {second: "2-digit"} : {}), hourCycle: "h23"};
  if (step >= DAY / 2) return date.toLocaleDateString(undefined, {month: "short", day: "numeric"});
  return date.toLocaleTimeString(undefined, step < 1 ? {...clock, fractionalSecondDigits: 2} : clock);
}

/** Names an axis; `time`: it holds Unix seconds. */
export function nameAxis(axis, label, time) {
  axis.axis_label = label;
  const is = axis.formatter.type === "CustomJSTickFormatter";
  if (axis.type !== "LinearAxis" || time === is) return;
  if (time) axis.setv({ticker: clockTicker(), formatter: new ClockFormatter()});
  else axis.setv({ticker: new BasicTicker(), formatter: new NumberFormatter()});
}

/** Whole seconds, minutes, hours and days. */
function clockTicker() {
  const days = Array.from({length: 3}, (_, i) => 10 ** i).flatMap(ten => [1, 2, 5].map(days => days * ten * DAY));
  return new CompositeTicker({
    tickers: [
      new AdaptiveTicker({base: 10, mantissas: [1, 2, 5], min_interval: 0, max_interval: 0.5, num_minor_ticks: 0}),
      new AdaptiveTicker({base: 60, mantissas: [1, 2, 5, 10, 15, 20, 30], min_interval: 1, max_interval: HOUR / 2, num_minor_ticks: 0}),
      new AdaptiveTicker({base: 24, mantissas: [HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR, 8 * HOUR, 12 * HOUR], min_interval: HOUR, max_interval: DAY / 2, num_minor_ticks: 0}),
      new AdaptiveTicker({base: 1000, mantissas: days, min_interval: DAY, max_interval: null, num_minor_ticks: 0}),
    ],
  });
}

class ClockFormatter extends CustomJSTickFormatter {
  doFormat(ticks) {
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : DAY;
    return ticks.map(tick => timeText(tick, step));
  }
}
