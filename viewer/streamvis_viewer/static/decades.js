// Ticks of logarithmic axes. Bokeh's own stand at equal distances wherever an axis spans less than two powers of ten, which leaves its
// lower part without any, and at powers of ten alone beyond.

import {tickTexts} from "./numbers.js";

const {LogTicker} = Bokeh.require("models/tickers/log_ticker");
const {BasicTickFormatter} = Bokeh.require("models/formatters/basic_tick_formatter");
const {LogTickFormatter} = Bokeh.require("models/formatters/log_tick_formatter");

const LEAST = 0.7; // powers of ten; an axis that spans less hardly differs from a linear one
const MORE = 2; // ticks than are desired, at most
const MANTISSAS = [[1, 2, 5], [1, 3], [1]];

/** As many of 1, 2, 5, 10, 20, … as there is room for, else of 1, 3, 10, …, else of powers of ten. */
export class DecadeTicker extends LogTicker {
  get_ticks_no_defaults(low, high, cross, desired) {
    const [from, to] = [Math.log10(low), Math.log10(high)];
    const decades = to - from;
    if (!(decades > LEAST)) return super.get_ticks_no_defaults(low, high, cross, desired);
    const mantissas = MANTISSAS.find(each => each.length * decades <= desired + MORE) ?? [1];
    const stride = mantissas.length > 1 ? 1 : Math.ceil(decades / (desired + MORE));
    const major = [];
    for (let power = Math.floor(from / stride) * stride; power <= to; power += stride) {
      major.push(...mantissas.map(mantissa => Number(`${mantissa}e${power}`)).filter(tick => low <= tick && tick <= high));
    }
    return {major, minor: []};
  }
}

/** Powers of ten as such, where the ticks are no others. */
export class DecadeFormatter extends LogTickFormatter {
  #others = new EachFormatter();

  doFormat(ticks, opts) {
    return arePowers(ticks) ? super.doFormat(ticks, opts) : this.#others.doFormat(ticks, opts);
  }

  /** What axes show. */
  format_graphics(ticks, opts) {
    return arePowers(ticks) ? super.format_graphics(ticks, opts) : this.#others.format_graphics(ticks, opts);
  }
}

class EachFormatter extends BasicTickFormatter {
  doFormat(ticks) {
    return ticks.flatMap(tick => tickTexts([tick]));
  }
}

const arePowers = ticks => ticks.every(tick => Number.isInteger(Number(Math.log10(tick).toFixed(9))));
