// The search of the first page: words that must all be found. A word is a pattern for the text of a row, or compares a hyperparameter.

import {matcher} from "./matcher.js";

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
      tests.push((_, config) => meets(config[compared[1]], COMPARE[compared[2]], compared[3]));
      continue;
    }
    const {test, error} = matcher(word);
    if (error) return {test: () => true, error};
    tests.push(text => test(text));
  }
  return {test: (text, config = {}) => tests.every(test => test(text, config)), error: ""};
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
