// What a person types into a search box: a regular expression, found anywhere, upper and lower case alike; a leading ! negates.
// It also goes into the address, where the server checks it: so only what RE2 knows too is taken.

const FOREIGN = /\(\?[=!<]|\\[1-9]/; // look-around and back-references

/** {test(text), error}: `error` says why the pattern cannot be used, and `test` then passes everything. */
export function matcher(pattern) {
  const negated = pattern.startsWith("!");
  const body = negated ? pattern.slice(1) : pattern;
  if (!body) return {test: () => true, error: ""};
  if (FOREIGN.test(body)) return {test: () => true, error: "look-around and back-references are not supported"};
  try {
    const regex = new RegExp(body, "i");
    return {test: text => regex.test(text) !== negated, error: ""};
  } catch (error) {
    return {test: () => true, error: error.message.replace(/^.*: /, "")};
  }
}

/** The pattern that finds this text. */
export const escaped = text => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
