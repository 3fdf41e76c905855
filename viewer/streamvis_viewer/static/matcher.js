// What a person types into a search box: a regular expression, found anywhere, upper and lower case alike; a leading ! negates.
// It also goes into the address, where the server checks it with RE2: only what means the same to both is taken.

const KNOWN = /\\(?:[dDsSwWbBfnrtv]|x[\da-fA-F]{2}|[ -/:-@[-`{-~])/g;
const CLASS = /\[\^?([^\]]*)\]/g; // once escapes are gone
const MOST_REPEATS = 1000; // RE2's
const [SET, BOUNDARY] = ["\uE000", "\uE001"]; // what stands for escapes once they are gone

/** {test(text), error}: `error` says why the pattern cannot be used, and `test` then passes everything. */
export function matcher(pattern) {
  const negated = pattern.startsWith("!");
  const body = (negated ? pattern.slice(1) : pattern).replace(/^\(\?i\)/, "");
  if (!body) return {test: () => true, error: ""};
  const error = foreign(body);
  if (error) return {test: () => true, error};
  try {
    const regex = new RegExp(body, "i");
    return {test: text => regex.test(text) !== negated, error: ""};
  } catch (error) {
    return {test: () => true, error: error.message.replace(/^.*: /, "")};
  }
}

/** Why RE2 refuses a pattern that this language takes, or takes it for another. */
function foreign(body) {
  const bare = body.replace(KNOWN, escape => (/^.[dsw]$/i.test(escape) ? SET : /^.b$/i.test(escape) ? BOUNDARY : "a"));
  const escape = /\\([^]?)/u.exec(bare);
  if (escape) return /[1-9k]/.test(escape[1]) ? "back-references are not supported" : `\\${escape[1]} is not supported`;
  for (const [all, items] of bare.matchAll(CLASS)) {
    if (!items) return `${all} is empty`;
    if (items.includes("[:")) return "[: is not supported";
    if (items.includes(BOUNDARY) || items.slice(1).includes(`-${SET}`)) return "a range of characters is invalid";
  }
  const outside = bare.replace(CLASS, "a");
  if (/\(\?<?[=!]/.test(outside)) return "look-around is not supported";
  if (/\(\?(?:<[^>]*[^\w>]|[a-z]*-:)/.test(outside)) return "a group is invalid";
  const repeats = [...outside.matchAll(/\{(\d+),?(\d*)\}/g)].map(([, least, most]) => Number(most || least));
  return repeats.reduce((a, b) => a * Math.max(b, 1), 1) > MOST_REPEATS ? `it repeats more than ${MOST_REPEATS} times` : "";
}

/** The pattern that finds this text. */
export const escaped = text => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
