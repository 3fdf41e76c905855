// The search of the first page: words that must all be found. A word is a pattern for the text of a row, or compares a hyperparameter,
// unless the text has it word for word: sweeps call their runs lr=0.1_seed=3.

import {escaped, matcher} from "./matcher.js";

const COMPARED = /^([^<>=!]+)(<=|>=|!=|<|>|=)(.+)$/;

const COMPARE = {
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
};

/** {test(text, config), error}: config is flat, names to values. */
export function search(query) {
  const tests = [];
  for (const word of query.trim().split(/\s+/).filter(Boolean)) {
    const compared = COMPARED.exec(word);
    if (compared) {
      const isPart = part(word);
      tests.push((text, config) => meets(config[compared[1]], COMPARE[compared[2]], compared[3]) || isPart(text));
      continue;
    }
    const {test, error} = matcher(word);
    if (error) return {test: () => true, error};
    tests.push(text => test(text));
  }
  return {test: (text, config = {}) => tests.every(test => test(text, config)), error: ""};
}

/** Whether a text has this one; no number goes on beyond it. */
function part(word) {
  const regex = new RegExp(escaped(word) + (/\d$/.test(word) ? "(?!\\.?\\d)" : ""), "i");
  return text => regex.test(text);
}

function meets(value, compare, wanted) {
  if (value === undefined) return false;
  const number = Number(wanted);
  if (typeof value === "number" && !Number.isNaN(number)) return compare(value, number);
  return compare(String(value), wanted);
}

/** Nested hyperparameters as one level, with dots between names. */
export function flat(config, prefix = "", into = {}) {
  for (const [name, value] of Object.entries(config)) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) flat(value, `${prefix}${name}.`, into);
    else into[prefix + name] = Array.isArray(value) ? JSON.stringify(value) : value;
  }
  return into;
}
