// A table of thousands of rows, of which only those in sight are elements. Sorted by a click on a column's head.

import {make} from "./dom.js";

const ROW = 32; // pixels, as in page.css
const BEYOND = 6;
const {compare} = new Intl.Collator(undefined, {numeric: true});

/** Ascending: numbers before text, nothing last. */
function order(a, b) {
  if (a === b) return 0;
  if (a === undefined || a === null) return 1;
  if (b === undefined || b === null) return -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return compare(String(a), String(b));
}

export class Table {
  #element;
  #head = make("div", {className: "row head", role: "row"});
  #body = make("div", {className: "body", role: "rowgroup"});
  #columns = [];
  #rows = [];
  #sorted = [];
  #onsort;

  /** `onsort(sort)`: a person wants another order, such as "scope" or "-updated". */
  constructor(element, onsort) {
    this.#element = element;
    this.#onsort = onsort;
    element.replaceChildren(this.#head, this.#body);
    element.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(element);
  }

  /** columns: {key, title, width, value: row → what it is sorted by, cell: row → text or element, number, hint}. */
  show(columns, rows, sort) {
    this.#columns = columns;
    this.#rows = rows;
    const descending = sort.startsWith("-");
    const by = sort.replace(/^-/, "");
    const column = columns.find(({key}) => key === by);
    const keyed = rows.map(row => [column ? column.value(row) : row[by], row]);
    keyed.sort(([a], [b]) => (descending && a !== undefined && b !== undefined ? order(b, a) : order(a, b)));
    this.#sorted = keyed.map(([, row]) => row);
    this.#element.style.setProperty("--columns", columns.map(({width}) => width).join(" "));
    this.#element.style.setProperty("--least", `${columns.reduce((sum, {width}) => sum + parseInt(width.match(/\d+/)[0], 10), 0)}px`);
    this.#head.replaceChildren(...columns.map(each => this.#title(each, each === column, descending)));
    this.#body.style.height = `${ROW * rows.length}px`;
    this.draw();
  }

  /** The rows in sight, anew. */
  draw() {
    const first = Math.max(0, Math.floor(this.#element.scrollTop / ROW) - BEYOND);
    const count = Math.ceil(this.#element.clientHeight / ROW) + 2 * BEYOND;
    this.#body.replaceChildren(...this.#sorted.slice(first, first + count).map((row, i) => this.#row(row, first + i)));
  }

  #title({key, title, value, number, hint}, sorted, descending) {
    if (!value) return make("span", {role: "columnheader"}, title);
    const mark = sorted ? (descending ? " ↓" : " ↑") : "";
    const next = sorted && !descending ? `-${key}` : sorted || !number ? key : `-${key}`;
    const button = make("button", {type: "button", title: hint ?? key, onclick: () => this.#onsort(next)}, make("bdi", {}, title), mark);
    const sort = sorted ? (descending ? "descending" : "ascending") : "none";
    return make("span", {role: "columnheader", className: number ? "number" : "", "aria-sort": sort}, button);
  }

  #row(row, place) {
    const cells = this.#columns.map(({cell, number}) => {
      const content = cell(row);
      return make("span", {role: "cell", className: number ? "number" : "", title: typeof content === "string" ? content : ""}, content);
    });
    const element = make("div", {className: row.selected ? "row selected" : "row", role: "row"}, ...cells);
    element.style.top = `${place * ROW}px`;
    return element;
  }
}
