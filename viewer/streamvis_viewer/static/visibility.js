// Which series the list of runs shows. The address names those that are hidden, or the only ones that are shown, each with the kind of
// text by which it goes: l(abel), s(cope), n(ame) or i(ndex).

import {matcher} from "./matcher.js";
import {INDEX, LABEL, NAME, SCOPE} from "./rows.js";

/** Where a row has the text of each kind. */
export const AT = {l: LABEL, s: SCOPE, n: NAME, i: INDEX};
const NOTHING = ""; // a text that no series has: the only one shown is none

/** The text of a row by which the list goes; `group` is label, scope, name or index. */
export const textOf = (row, group) => String(row[AT[group[0]]]);

export class Visibility {
  error = ""; // why the search cannot be used

  #state;
  #hidden; // by kind, sets of texts
  #only;
  #found;

  /** `changed()` is called after every change. */
  constructor(state, changed) {
    this.#state = state;
    const read = () => {
      this.#read();
      changed();
    };
    state.watch(["hide", "only", "runs", "group"], read);
    this.#read();
  }

  get group() {
    return this.#state.get("group");
  }

  isShown(row) {
    return Object.keys(AT).every(kind => this.#isOn(kind, String(row[AT[kind]]))) && this.#found(textOf(row, this.group));
  }

  /** Whether the list's box for a text is ticked. */
  isOn(text) {
    return this.#isOn(this.group[0], text);
  }

  isFound(text) {
    return this.#found(text);
  }

  toggle(text) {
    const kind = this.group[0];
    const [key, sets] = this.#only[kind] ? ["only", this.#only] : ["hide", this.#hidden];
    const texts = new Set(sets[kind]);
    if (!texts.delete(text)) texts.add(text);
    if (key === "only" && !texts.size) texts.add(NOTHING);
    else if (texts.size > 1) texts.delete(NOTHING);
    this.#write({[key]: {...sets, [kind]: texts}});
  }

  /** Shows one text alone; once more: shows all again. */
  solo(text) {
    const kind = this.group[0];
    const alone = this.#only[kind]?.size === 1 && this.#only[kind].has(text);
    this.#set(kind, alone ? null : new Set([text]));
  }

  showAll() {
    this.#set(this.group[0], null);
  }

  hideAll() {
    this.#set(this.group[0], new Set([NOTHING]));
  }

  /** Whether anything is hidden by ticks. */
  get some() {
    return this.#state.get("hide").length + this.#state.get("only").length > 0;
  }

  #set(kind, only) {
    this.#write({hide: {...this.#hidden, [kind]: undefined}, only: {...this.#only, [kind]: only ?? undefined}});
  }

  #write(changes) {
    this.#state.set(Object.fromEntries(Object.entries(changes).map(([key, sets]) => [key, written(sets)])));
  }

  #isOn(kind, text) {
    return this.#only[kind] ? this.#only[kind].has(text) : !this.#hidden[kind]?.has(text);
  }

  #read() {
    this.#hidden = sets(this.#state.get("hide"));
    this.#only = sets(this.#state.get("only"));
    const {test, error} = matcher(this.#state.get("runs"));
    this.#found = test;
    this.error = error;
  }
}

function sets(values) {
  const byKind = {};
  for (const value of values) (byKind[value[0]] ??= new Set()).add(value.slice(2));
  return byKind;
}

const written = byKind => Object.entries(byKind).flatMap(([kind, texts]) => [...(texts ?? [])].map(text => `${kind}:${text}`));
