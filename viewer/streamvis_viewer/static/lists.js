// The lists of the first page: runs with their status and hyperparameters, and names.

import {call} from "./call.js";
import {make, name} from "./dom.js";
import {escaped} from "./matcher.js";
import {flat, search} from "./search.js";
import {toast} from "./toast.js";

const MOST_CONFIG = 7; // columns of hyperparameters
const MOST_SCOPES = 500; // in one request, so that one sees how far it is; landing.py takes twice as many
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const SIZES = ["B", "kB", "MB", "GB", "TB"];

const count = new Intl.NumberFormat("en", {notation: "compact", maximumFractionDigits: 1}).format;

/** Seconds in the largest unit that fits. */
export function age(seconds) {
  const [size, unit] = UNITS.find(([least]) => seconds >= least) ?? UNITS.at(-1);
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

function bytes(size) {
  const power = Math.min(Math.floor(Math.log10(Math.max(size, 1)) / 3), SIZES.length - 1);
  return `${Number((size / 1000 ** power).toPrecision(3))} ${SIZES[power]}`;
}

const shown = value => (typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(5))) : String(value));

const link = (query, text) => make("a", {href: `open?${query}`, title: text}, name(text));

const now = () => Date.now() / 1000;

const many = runs => `${runs.length} run${runs.length === 1 ? "" : "s"}`;

/** The head of a column of ticks: all that are found, or none. */
function tickAll(rows, select) {
  const all = rows.length > 0 && rows.every(row => row.selected);
  return make("input", {type: "checkbox", checked: all, "aria-label": "All that are found", onchange: () => select(rows, !all)});
}

/** Deletes or restores runs, however many; `say(count)` after each part. What is done, and why not all: {done, error}. */
async function change(token, verb, scopes, say) {
  const result = {done: [], error: ""};
  for (let at = 0; at < scopes.length; at += MOST_SCOPES) {
    try {
      const {done, error} = await call(token, `scopes/${verb}`, {scopes: scopes.slice(at, at + MOST_SCOPES)});
      result.done.push(...done);
      result.error ||= error;
    } catch (error) {
      result.error ||= error.message;
      break;
    }
    say(result.done.length);
  }
  if (result.error && result.done.length) result.error = `${result.done.length} of ${scopes.length}: ${result.error}`;
  return result;
}

export class Runs {
  title = "Runs";
  tick = true;

  #token;
  #changed;
  #refresh;
  #runs = new Map();
  #selected = new Set();
  #found = [];
  #last = null; // the run that was ticked last, for shift

  /** `changed()`: draw again. `refresh()`: ask the viewer what has changed. */
  constructor(token, changed, refresh) {
    this.#token = token;
    this.#changed = changed;
    this.#refresh = refresh;
  }

  get size() {
    return this.#runs.size;
  }

  get chosen() {
    return [...this.#selected];
  }

  /** What the runs that are ticked add to an address. */
  get query() {
    if (!this.#selected.size) return "";
    const names = this.chosen.map(escaped);
    return `&scopes=${encodeURIComponent(names.length === 1 ? `^${names[0]}$` : `^(${names.join("|")})$`)}`;
  }

  take({whole, scopes, gone}) {
    if (whole) this.#runs = new Map();
    for (const run of scopes) this.#runs.set(run.scope, {...run, flat: flat(run.config)});
    for (const scope of gone) this.#runs.delete(scope);
    for (const scope of this.#selected) if (!this.#runs.has(scope)) this.#selected.delete(scope);
    if (scopes.length || gone.length) this.#changed();
  }

  view(query) {
    const {test, error} = search(query);
    this.#found = [...this.#runs.values()].filter(run => test(run.scope, run.flat));
    for (const run of this.#found) run.selected = this.#selected.has(run.scope);
    return {columns: this.#columns(), rows: this.#found, sort: this.#has("updated") ? "-updated" : "-order", error};
  }

  actions(rows) {
    if (!this.#selected.size) return [];
    const remove = make("button", {type: "button", className: "button plain", onclick: () => this.#confirm(this.chosen)}, "Delete…");
    const clear = make("button", {type: "button", className: "quiet", onclick: () => this.#select(rows, false)}, "Clear");
    return [make("span", {}, `${many(this.chosen)} chosen`), remove, clear];
  }

  #has(key) {
    return this.#found.some(run => run[key] !== undefined && run[key] !== null);
  }

  #columns() {
    const columns = [
      {key: "selected", title: tickAll(this.#found, (runs, on) => this.#select(runs, on)), width: "34px", cell: run => this.#tick(run)},
      {key: "scope", title: "Run", width: "minmax(180px, 2.4fr)", value: run => run.scope, cell: run => link(`scope=${encodeURIComponent(run.scope)}`, run.scope)},
    ];
    if (this.#has("status")) columns.push({key: "status", title: "Status", width: "104px", value: run => run.status, cell: status});
    if (this.#has("updated")) {
      columns.push({key: "updated", title: "Age", hint: "since the last point", width: "78px", number: true, value: run => run.updated, cell: run => (run.updated ? age(now() - run.updated) : "–")});
    }
    if (this.#has("points")) columns.push({key: "points", title: "Points", width: "76px", number: true, value: run => run.points, cell: run => count(run.points ?? 0)});
    if (this.#has("bytes")) columns.push({key: "bytes", title: "Size", width: "82px", number: true, value: run => run.bytes, cell: run => bytes(run.bytes ?? 0)});
    columns.push({key: "names", title: "Names", width: "72px", number: true, value: run => run.names, cell: run => String(run.names)});
    return [...columns, ...this.#telling().map(key => this.#config(key))];
  }

  #config(key) {
    const number = this.#found.every(run => run.flat[key] === undefined || typeof run.flat[key] === "number");
    const cell = run => (run.flat[key] === undefined ? "" : shown(run.flat[key]));
    const least = Math.min(Math.max(64, 24 + 7 * key.length), 132); // most titles whole
    return {key: `config.${key}`, title: key, width: `minmax(${least}px, 1fr)`, number, value: run => run.flat[key], cell};
  }

  /** Hyperparameters in which the runs differ, else the first ones. */
  #telling() {
    const values = new Map();
    for (const run of this.#found) {
      for (const [key, value] of Object.entries(run.flat)) {
        if (!values.has(key)) values.set(key, new Set());
        values.get(key).add(value);
      }
    }
    const differing = [...values].filter(([key, set]) => set.size > 1 || this.#found.some(run => run.flat[key] === undefined)).map(([key]) => key);
    return (differing.length ? differing : [...values.keys()]).slice(0, MOST_CONFIG);
  }

  #tick(run) {
    const box = make("input", {type: "checkbox", checked: run.selected, "aria-label": `Choose ${run.scope}`});
    box.addEventListener("click", event => {
      const from = event.shiftKey && this.#last ? this.#found.indexOf(this.#last) : -1;
      const to = this.#found.indexOf(run);
      const runs = from < 0 ? [run] : this.#found.slice(Math.min(from, to), Math.max(from, to) + 1);
      this.#last = run;
      this.#select(runs, box.checked);
    });
    return box;
  }

  #select(runs, on) {
    for (const {scope} of runs) on ? this.#selected.add(scope) : this.#selected.delete(scope);
    this.#changed();
  }

  #confirm(scopes) {
    const title = `Delete ${many(scopes)}`;
    const names = make("ul", {}, ...scopes.slice(0, 8).map(scope => make("li", {}, make("bdi", {}, scope))), ...(scopes.length > 8 ? [make("li", {}, `and ${scopes.length - 8} more`)] : []));
    const problem = make("p", {className: "bad"});
    const remove = make("button", {type: "button", className: "button danger"}, title);
    const cancel = make("button", {type: "button", className: "button plain", autofocus: true, onclick: () => dialog.close()}, "Cancel");
    const dialog = make(
      "dialog", {"aria-label": title}, make("h1", {}, `${title}?`), names,
      make("p", {}, "They go to the trash: “streamvis restore” brings them back until they are purged."), problem, make("p", {className: "buttons"}, remove, cancel),
    );
    dialog.addEventListener("close", () => dialog.remove());
    remove.addEventListener("click", async () => {
      remove.disabled = true;
      const {done, error} = await change(this.#token, "delete", scopes, count => (remove.textContent = `${count} of ${many(scopes)}`));
      if (done.length) this.#undo(done);
      remove.textContent = title;
      remove.disabled = false;
      problem.textContent = error;
      if (!error) dialog.close();
      await this.#refresh();
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  #undo(scopes) {
    const restore = make("button", {type: "button", className: "quiet"}, "Restore");
    const {line, element} = toast(`${many(scopes)} deleted.`, restore);
    restore.addEventListener("click", async () => {
      restore.disabled = true;
      const {error} = await change(this.#token, "restore", scopes, count => (line.textContent = `${count} of ${many(scopes)} restored.`));
      line.textContent = error;
      if (!error) element.remove();
      await this.#refresh();
    });
  }
}

/** What was deleted. */
export class Trash {
  title = "Trash";
  tick = true;
  nothing = ""; // what is said in place of an empty list

  #token;
  #changed;
  #refresh;
  #entries = [];
  #found = [];
  #selected = new Set();
  #progress = ""; // while runs are restored

  constructor(token, changed, refresh) {
    this.#token = token;
    this.#changed = changed;
    this.#refresh = refresh;
  }

  get size() {
    return this.#entries.length;
  }

  take() {}

  /** Asks what there is; called while the list is shown, and once at the beginning. */
  async ask() {
    try {
      this.#entries = (await call(this.#token, "trash")).trash;
      this.nothing = "The trash is empty.";
    } catch (error) {
      this.nothing = error.message;
    }
    const known = new Set(this.#entries.map(({scope}) => scope));
    for (const scope of this.#selected) if (!known.has(scope)) this.#selected.delete(scope);
    this.#changed();
  }

  view(query) {
    const {test, error} = search(query);
    this.#found = this.#entries.filter(({scope}) => test(scope));
    for (const row of this.#found) row.selected = this.#selected.has(row.scope);
    return {columns: this.#columns(), rows: this.#found, sort: "-deleted", error};
  }

  actions() {
    if (!this.#selected.size) return [make("span", {className: "empty"}, "“streamvis purge” frees the space.")];
    const text = this.#progress || `Restore ${this.#selected.size}`;
    return [make("button", {type: "button", className: "button plain", disabled: Boolean(this.#progress), onclick: () => this.#restore()}, text)];
  }

  #columns() {
    const tick = row => {
      const box = make("input", {type: "checkbox", checked: row.selected, "aria-label": `Choose ${row.scope}`});
      box.addEventListener("change", () => this.#select([row], box.checked));
      return box;
    };
    return [
      {key: "selected", title: tickAll(this.#found, (rows, on) => this.#select(rows, on)), width: "34px", cell: tick},
      {key: "scope", title: "Run", width: "minmax(180px, 2fr)", value: row => row.scope, cell: row => make("bdi", {}, row.scope)},
      {key: "deleted", title: "Deleted", width: "110px", number: true, value: row => row.deleted, cell: row => (row.deleted ? `${age(now() - row.deleted)} ago` : "–")},
      {key: "points", title: "Points", width: "76px", number: true, value: row => row.points, cell: row => count(row.points)},
      {key: "bytes", title: "Size", width: "82px", number: true, value: row => row.bytes, cell: row => bytes(row.bytes)},
      {key: "names", title: "Names", width: "minmax(160px, 2fr)", value: row => row.names.join(", "), cell: row => row.names.join(", ")},
    ];
  }

  #select(rows, on) {
    for (const {scope} of rows) on ? this.#selected.add(scope) : this.#selected.delete(scope);
    this.#changed();
  }

  async #restore() {
    const scopes = [...this.#selected];
    const {done, error} = await change(this.#token, "restore", scopes, count => this.#say(`${count} of ${scopes.length}`));
    for (const scope of done) this.#selected.delete(scope);
    this.#say("");
    if (error) toast(error);
    await this.ask();
    await this.#refresh();
  }

  #say(progress) {
    this.#progress = progress;
    this.#changed();
  }
}

function status({status}) {
  return make("span", {className: `status ${status}`}, make("i", {className: "dot"}), status ?? "unknown");
}

export class Names {
  title = "Names";

  #changed;
  #names = [];

  constructor(changed) {
    this.#changed = changed;
  }

  get size() {
    return this.#names.length;
  }

  take({names}) {
    if (!names) return;
    this.#names = names;
    this.#changed();
  }

  view(query) {
    const {test, error} = search(query);
    return {columns: COLUMNS, rows: this.#names.filter(({name}) => test(name)), sort: "name", error};
  }

  actions() {
    return [];
  }
}

const COLUMNS = [
  {
    key: "name", title: "Name", width: "minmax(180px, 2fr)", value: row => row.name,
    cell: row => (row.plots.length ? link(`name=${encodeURIComponent(row.name)}`, row.name) : make("bdi", {}, row.name)),
  },
  {key: "scopes", title: "Runs", width: "72px", number: true, value: row => row.scopes, cell: row => String(row.scopes)},
  {key: "columns", title: "Columns", width: "minmax(140px, 1.5fr)", value: row => row.columns.join(" or "), cell: row => row.columns.join(" or ")},
  {key: "plots", title: "Drawn by", width: "minmax(140px, 1.5fr)", value: row => row.plots.join(", "), cell: row => row.plots.join(", ") || "no plot draws these columns"},
];
