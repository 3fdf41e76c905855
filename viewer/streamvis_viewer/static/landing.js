// The first page: what exists, kept up to date; a page of plots is laid out here, runs are deleted and brought back.

import {Builder, encoded} from "./builder.js";
import {call} from "./call.js";
import {copy} from "./clipboard.js";
import {icon, make} from "./dom.js";
import {Names, Runs, Trash} from "./lists.js";
import {Table} from "./table.js";

const REFRESH_MS = 2000;
const FIRST_PLOTS = 4; // in the layout that one begins with
const TELLING = [/loss/i, /acc|error|score|reward|return|perplexity/i]; // what most people look at first

const byId = id => document.getElementById(id);
const settings = JSON.parse(byId("settings").textContent);

class Landing {
  #at = "";
  #touched = false; // whether a person has changed the layout
  #plots = [];
  #lists;
  #shown;
  #table = new Table(byId("table"), sort => this.#set({sort}));
  #builder = new Builder(byId("preview"), () => this.#link());
  #hash = new URLSearchParams(location.hash.slice(1)); // how the lists stand: kept when the page is reloaded

  constructor() {
    const changed = () => this.#show();
    const runs = new Runs(settings.token, changed, () => this.refresh());
    this.#lists = {runs, names: new Names(changed), trash: new Trash(settings.token, changed, () => this.refresh())};
    this.#shown = this.#lists[this.#hash.get("list")] ?? runs;
    byId("search").value = this.#hash.get("search") ?? "";
    byId("search").addEventListener("input", () => this.#set({search: byId("search").value}));
    byId("search-plots").addEventListener("input", () => this.#showPlots());
    byId("copy").addEventListener("click", event => copy(byId("address").value).then(() => (event.target.textContent = "Copied")));
    byId("layout-tools").append(
      make("button", {type: "button", className: "quiet", title: "Rows become columns, columns rows", onclick: () => this.#builder.turn()}, "turn"),
      make("button", {type: "button", className: "quiet", onclick: () => this.#clear()}, "clear"),
    );
    setInterval(() => this.#shown.tick && this.#table.draw(), 1000); // ages
  }

  /** Asks for what has changed, again and again. */
  async run() {
    for (;;) {
      if (!document.hidden) await this.refresh();
      await new Promise(resolve => setTimeout(resolve, REFRESH_MS));
    }
  }

  async refresh() {
    let news;
    try {
      news = await call(settings.token, `catalog?after=${this.#at}`);
      const {trash} = this.#lists;
      if (this.#at === "" || this.#shown === trash || news.gone.length) await trash.ask();
    } catch (error) {
      this.#state("away", "disconnected", error.message);
      return;
    }
    const first = this.#at === "";
    this.#at = news.at;
    this.#showState(news);
    for (const list of Object.values(this.#lists)) list.take(news);
    if (news.plots) {
      this.#plots = news.plots;
      const titles = new Set(news.plots.map(({plot}) => plot));
      this.#builder.keep(plot => titles.has(plot));
      if (this.#builder.count === 0 && !this.#touched) this.#builder.fill(telling(news.plots));
      this.#showPlots();
    }
    byId("source").textContent = `from ${news.schema.source}`;
    if (first || news.plots) this.#show();
  }

  #set(changes) {
    for (const [key, value] of Object.entries(changes)) value ? this.#hash.set(key, value) : this.#hash.delete(key);
    history.replaceState(null, "", this.#hash.size ? `#${this.#hash}` : location.pathname);
    this.#show();
  }

  #show() {
    this.#showTabs();
    const {columns, rows, sort, error} = this.#shown.view(byId("search").value);
    byId("search").setCustomValidity(error);
    byId("found").textContent = error || (rows.length < this.#shown.size ? `${rows.length} of ${this.#shown.size}` : "");
    byId("found").className = error ? "bad" : "";
    this.#table.show(columns, rows, this.#hash.get("sort") ?? sort);
    byId("actions").replaceChildren(...this.#shown.actions(rows));
    byId("empty").hidden = this.#at === "" || this.#shown.size > 0;
    byId("table").hidden = this.#shown.size === 0;
    if (!byId("empty").hidden) byId("empty").replaceChildren(...(this.#shown.nothing === undefined ? nothing(settings.grpc_uri) : [make("p", {}, this.#shown.nothing)]));
    this.#link();
  }

  #clear() {
    this.#touched = true;
    this.#builder.clear();
  }

  #showTabs() {
    const tab = (key, list) => {
      const selected = list === this.#shown;
      const choose = () => {
        this.#shown = list;
        this.#set({list: list === this.#lists.runs ? "" : key, sort: ""});
      };
      return make("button", {type: "button", role: "tab", "aria-selected": selected, onclick: choose}, list.title, make("small", {}, ` ${list.size}`));
    };
    document.querySelector(".tabs").replaceChildren(...Object.entries(this.#lists).map(([key, list]) => tab(key, list)));
  }

  #showPlots() {
    const wanted = byId("search-plots").value.trim().toLowerCase();
    const add = (plot, beside) => {
      this.#touched = true;
      this.#builder.add(plot, beside);
    };
    const button = (name, title, act) => make("button", {type: "button", className: "tool", title, "aria-label": title, onclick: act}, icon(name));
    const item = ({plot, kind, columns, names}) =>
      make(
        "li", {className: names ? "" : "idle"},
        make("a", {href: `plot?rows=${encoded(plot)}`, title: `Open ${plot} alone`}, make("bdi", {}, plot)),
        make("small", {}, names ? `${kind} of ${columns[1]} over ${columns[0]}` : "nothing to draw yet"),
        button("beside", `Add ${plot} beside`, () => add(plot, true)),
        button("below", `Add ${plot} below`, () => add(plot, false)),
      );
    const found = this.#plots.filter(({plot}) => plot.toLowerCase().includes(wanted));
    byId("plots").replaceChildren(...found.map(item));
    byId("search-plots").hidden = this.#plots.length < 8;
    byId("plot-list").hidden = !this.#plots.length;
    byId("layout").hidden = !this.#plots.length;
  }

  #link() {
    const link = `plot?${this.#builder.query}${this.#lists.runs.query}`;
    const some = this.#builder.count > 0;
    byId("open").href = link;
    byId("open").classList.toggle("off", !some);
    byId("address").value = some ? new URL(link, location.href).href : "";
    byId("copy").textContent = "Copy";
    byId("open").textContent = this.#lists.runs.chosen.length ? `Open ${this.#lists.runs.chosen.length} of ${this.#lists.runs.size} runs` : "Open";
  }

  #showState({server, schema}) {
    const texts = {live: "live", away: "the data server does not answer", connecting: "connecting"};
    const problem = server.state === "away" ? `The data server does not answer (${server.reason}). What was known stays.` : "";
    this.#state(server.state, texts[server.state], schema.error ? `The schema cannot be used, the last good one stays.\n${schema.error}` : problem);
  }

  #state(state, text, problem) {
    byId("connection").className = state;
    byId("connection").lastElementChild.textContent = text;
    byId("banner").textContent = problem;
    byId("banner").hidden = !problem;
  }
}

/** The plots to begin with. */
function telling(plots) {
  const rank = ({plot}) => TELLING.findIndex(pattern => pattern.test(plot)) >>> 0; // -1 comes last
  return plots.filter(({names}) => names).sort((a, b) => rank(a) - rank(b)).slice(0, FIRST_PLOTS).map(({plot}) => plot);
}

/** What a person sees who has logged nothing yet. */
function nothing(uri) {
  const code = `from streamvis import DataLogger

with DataLogger("run1", "${uri}") as logger:
    for step in range(1000):
        logger.write("loss", x=step, y=1 / (step + 1))`;
  const button = make("button", {type: "button", className: "button plain", onclick: () => copy(code).then(() => (button.textContent = "Copied"))}, "Copy");
  return [make("h2", {}, "Nothing has been logged yet"), make("p", {}, "Runs appear here by themselves. For instance:"), make("pre", {}, code), button];
}

new Landing().run();
