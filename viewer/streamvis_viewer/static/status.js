// The bar at the bottom and the banner at the top.

const number = new Intl.NumberFormat("en").format;
const many = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

/** How much of the points of a thinned plot are here. */
export const part = ({kept, points}) => `${number(kept)} of ${number(points)} points`;

const byId = id => document.getElementById(id);

export class Status {
  #banner = byId("banner");
  #connection = byId("connection");
  #note = {server: {state: "connecting"}, schema: {error: ""}};
  #lost = false; // the viewer does not answer

  /** The page's note: the data server's state, the schema's, and what each plot lacks. */
  show(note, plots) {
    this.#note = note;
    this.#showServer();
    note.plots.forEach((each, i) => (plots[i].note = each));
    const title = i => plots[i].title;
    const left = note.plots.flatMap(({left_out}, i) => Object.entries(left_out).map(([reason, count]) => [count, `${title(i)}: ${count} × ${reason}`]));
    this.#explain("left-out", left, count => `${many(count, "topic")} left out`);
    this.#explain("unknown", note.unknown.map(column => [1, `${column}: in the address, and nowhere here`]), count => `no column ${note.unknown.join(", ")}`);
    const gaps = ["nan", "inf"].flatMap(kind => note.plots.map((each, i) => [each[kind] ?? 0, `${title(i)}: ${number(each[kind] ?? 0)} × ${GAPS[kind]}`]));
    this.#explain("gaps", gaps.filter(([count]) => count), count => `${many(count, "point")} not finite`);
  }

  /** After a batch of frames. */
  count(plots) {
    const series = plots.reduce((sum, plot) => sum + plot.data.rows.filter(row => row).length, 0);
    const points = plots.reduce((sum, plot) => sum + plot.data.points, 0);
    byId("counts").textContent = `${number(series)} series · ${many(points, "point")}`;
    byId("backend").textContent = [...new Set(plots.map(plot => plot.data.backend))].join(", ");
    const thinned = plots.filter(({data}) => data.thinned).map(({title, data}) => [1, `${title}: ${part(data)}`]);
    this.#explain("thinned", thinned, count => `${many(count, "plot")} thinned`);
    for (const plot of plots) plot.say(emptiness(plot, this.#note.server.state), !plot.data.points && plot.note?.loading !== false);
  }

  /** Points that a logarithmic axis cannot show. */
  countUnplaced(plots) {
    const unplaced = plots.map(({title, data}) => [data.unplaced, `${title}: ${number(data.unplaced)} × zero or negative on a logarithmic axis`]);
    this.#explain("unplaced", unplaced.filter(([count]) => count), count => `${many(count, "point")} off the log axes`);
  }

  /** The page is a file. */
  saved(at) {
    this.#set("saved", `saved ${new Date(at).toLocaleString()}`);
    this.#say("");
  }

  connected() {
    if (this.#lost) {
      this.#lost = false;
      this.#showServer();
    }
  }

  disconnected() {
    this.#lost = true;
    this.#set("away", "disconnected");
    this.#say("The viewer does not answer. The page shows what it has, and tries again by itself.");
  }

  stale(reason) {
    this.#lost = true;
    this.#set("away", "disconnected");
    this.#say(reason ? `${reason[0].toUpperCase()}${reason.slice(1)}. ` : "");
    const link = this.#banner.appendChild(document.createElement("a"));
    link.href = location.href;
    link.textContent = "Reload";
  }

  #showServer() {
    const {state, reason} = this.#note.server;
    this.#set(state, {live: "live", away: "data server away", connecting: "connecting"}[state]);
    const {error} = this.#note.schema;
    if (error) this.#say(`The schema cannot be used, the last good one stays.\n${error}`, "bad");
    else this.#say(state === "away" ? `The data server does not answer (${reason}). The page shows what it has, and goes on by itself.` : "");
  }

  /** A count in the bar, which says more when it is pointed at. */
  #explain(id, found, text) {
    const element = byId(id);
    element.hidden = !found.length;
    element.textContent = text(found.reduce((sum, [count]) => sum + count, 0));
    element.title = found.map(([, line]) => line).join("\n");
  }

  #set(state, text) {
    this.#connection.className = state;
    this.#connection.lastElementChild.textContent = text;
  }

  #say(text, kind = "") {
    this.#banner.textContent = text;
    this.#banner.className = kind;
    this.#banner.hidden = !text;
  }
}

const GAPS = {nan: "not a number", inf: "infinite"};

function emptiness({data: {points}, note}, state) {
  if (points) return "";
  if (!note || note.loading) return state === "live" ? "loading…" : "waiting for the data server";
  if (note.topics) return "waiting for points";
  const reasons = Object.keys(note.left_out);
  return reasons.length ? `nothing fits this plot: ${reasons.join("; ")}` : "nothing that was logged fits this plot yet";
}
