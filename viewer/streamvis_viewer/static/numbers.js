// Numbers along an axis, as short as they may be: 7.6M, 0.05, 2e-5.

const {BasicTickFormatter} = Bokeh.require("models/formatters/basic_tick_formatter");

const UNITS = {3: "K", 6: "M", 9: "G", 12: "T"};
const PLAIN = 5; // powers of ten from which on a unit stands for some of them
const [LEAST, MOST] = [-3, 15]; // powers of ten beyond which numbers are written with an exponent
const MOST_DIGITS = 15;
const MOST_BEFORE_UNIT = 3; // digits after the point; numbers that lie closer than that are written out

/** How neighbouring ticks are written, each exactly. */
export function tickTexts(ticks) {
  const power = Math.floor(Math.log10(Math.max(...ticks.map(Math.abs))) + 1e-9);
  if (!Number.isFinite(power)) return ticks.map(String);
  const exponent = power < LEAST || power >= MOST ? power : power < PLAIN ? 0 : 3 * Math.floor(power / 3);
  const digits = digitsOf(ticks, exponent);
  if (UNITS[exponent] && digits > MOST_BEFORE_UNIT) return tickTextsOf(ticks, 0, digitsOf(ticks, 0));
  return tickTextsOf(ticks, exponent, digits);
}

function tickTextsOf(ticks, exponent, digits) {
  const unit = exponent ? (UNITS[exponent] ?? `e${exponent}`) : "";
  return ticks.map(tick => {
    const text = String(Number(scaled(tick, exponent).toFixed(digits)));
    return `${text}${Number(text) ? unit : ""}`.replaceAll("-", "\u2212");
  });
}

/** After the point, so that no tick is rounded by more than a thousandth of what parts it from the next. */
function digitsOf(ticks, exponent) {
  const values = ticks.map(tick => scaled(tick, exponent));
  const apart = Math.min(...values.slice(1).map((value, i) => Math.abs(value - values[i]) || Infinity), Math.max(...values.map(Math.abs)));
  for (let digits = 0; digits < MOST_DIGITS; digits++) {
    if (values.every(value => Math.abs(Number(value.toFixed(digits)) - value) < apart / 1000)) return digits;
  }
  return MOST_DIGITS;
}

const scaled = (value, exponent) => (exponent < 0 ? value * 10 ** -exponent : value / 10 ** exponent);

export class NumberFormatter extends BasicTickFormatter {
  doFormat(ticks) {
    return tickTexts(ticks);
  }
}
