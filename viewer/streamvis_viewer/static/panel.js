// The list of runs: one line per label, whatever plots show it. Click hides and shows, double-click shows it alone.

const MOST_ROWS = 1000;
const MOST_COLORS = 3;
const {compare} = new Intl.Collator(undefined, {numeric: true});

export class Panel {
  #plots;
  #runs = new Map(); // label → set of colours
  #hidden = new Set();
  #list = document.getElementById("runs");
  #search = document.getElementById("search");

  constructor(plots) {
    this.#plots = plots;
    this.#search.addEventListener("input", () => this.#render());
    this.#list.addEventListener("click", event => this.#onRow(event, label => this.#toggle(label)));
    this.#list.addEventListener("dblclick", event => this.#onRow(event, label => this.#solo(label)));
    document.getElementById("panel-toggle").addEventListener("click", () => document.body.classList.toggle("wide"));
    const title = plots.map(plot => plot.legend.title).find(text => text);
    if (title) document.querySelector(".panel-head strong").textContent = title;
    if (plots.every(plot => plot.legend.visible === false)) document.body.classList.add("wide");
  }

  /** After a batch of frames. */
  refresh() {
    if (!this.#plots.some(plot => plot.data.changed)) return;
    this.#runs = new Map();
    for (const plot of this.#plots) {
      plot.data.changed = false;
      if (plot.legend.visible !== false) this.#collect(plot);
    }
    for (const plot of this.#plots) plot.hidden = this.#hidden;
    this.#render();
  }

  #collect(plot) {
    plot.data.rows.forEach((row, slot) => {
      if (!row) return;
      const label = plot.data.label(slot);
      if (!this.#runs.has(label)) this.#runs.set(label, new Set());
      this.#runs.get(label).add(plot.data.color(slot));
    });
  }

  #render() {
    const wanted = this.#search.value.trim().toLowerCase();
    const labels = [...this.#runs.keys()].filter(label => label.toLowerCase().includes(wanted)).sort(compare);
    this.#list.replaceChildren(...labels.slice(0, MOST_ROWS).map(label => this.#row(label)));
    document.getElementById("run-count").textContent =
      labels.length < this.#runs.size ? `${labels.length} of ${this.#runs.size}` : String(this.#runs.size);
    const more = document.getElementById("more-runs");
    more.hidden = labels.length <= MOST_ROWS;
    more.textContent = `…and ${labels.length - MOST_ROWS} more: search to see them`;
  }

  #row(label) {
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    const swatch = button.appendChild(document.createElement("i"));
    const text = button.appendChild(document.createElement("span"));
    button.type = "button";
    button.title = `${label}\nClick: hide or show. Double-click: show alone.`;
    button.dataset.label = label;
    button.setAttribute("aria-pressed", !this.#hidden.has(label));
    swatch.className = "swatch";
    swatch.style.background = stripes([...this.#runs.get(label)].slice(0, MOST_COLORS));
    text.className = "label";
    text.textContent = label;
    return item;
  }

  #onRow(event, act) {
    const button = event.target.closest("button");
    if (!button) return;
    act(button.dataset.label);
    for (const row of this.#list.querySelectorAll("button")) {
      row.setAttribute("aria-pressed", !this.#hidden.has(row.dataset.label));
    }
    for (const plot of this.#plots) plot.hide(this.#hidden);
  }

  #toggle(label) {
    if (!this.#hidden.delete(label)) this.#hidden.add(label);
  }

  #solo(label) {
    const others = [...this.#runs.keys()].filter(other => other !== label);
    const alone = others.every(other => this.#hidden.has(other));
    this.#hidden = new Set(alone ? [] : others);
  }
}

function stripes(colors) {
  const width = 100 / colors.length;
  return `linear-gradient(90deg, ${colors.map((c, i) => `${c} ${i * width}% ${(i + 1) * width}%`).join(", ")})`;
}
