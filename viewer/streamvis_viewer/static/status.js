// The bar at the bottom and the banner at the top.

const number = new Intl.NumberFormat("en").format;
const many = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

export class Status {
  #banner = document.getElementById("banner");
  #connection = document.getElementById("connection");
  #server = {state: "connecting"};
  #lost = false;

  /** The page's note: the server's state, and what each plot lacks. */
  show({server, plots: notes}, plots) {
    this.#server = server;
    this.#showServer();
    notes.forEach((note, i) => (plots[i].note = note));
    const left = notes.flatMap(({left_out}, i) =>
      Object.entries(left_out).map(([reason, count]) => ({count, text: `${plots[i].title}: ${count} × ${reason}`})),
    );
    const element = document.getElementById("left-out");
    element.hidden = !left.length;
    element.textContent = `${many(left.reduce((sum, {count}) => sum + count, 0), "topic")} left out`;
    element.title = left.map(({text}) => text).join("\n");
  }

  /** After a batch of frames. */
  count(plots) {
    const series = plots.reduce((sum, plot) => sum + plot.data.rows.filter(row => row).length, 0);
    const points = plots.reduce((sum, plot) => sum + plot.data.points, 0);
    document.getElementById("counts").textContent = `${number(series)} series · ${many(points, "point")}`;
    document.getElementById("backend").textContent = [...new Set(plots.map(plot => plot.data.backend))].join(", ");
    for (const plot of plots) plot.say(emptiness(plot, this.#server.state), !plot.data.points && plot.note?.loading !== false);
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
    this.#set("away", "disconnected");
    this.#say(reason ? `${reason[0].toUpperCase()}${reason.slice(1)}. ` : "");
    const link = this.#banner.appendChild(document.createElement("a"));
    link.href = location.href;
    link.textContent = "Reload";
  }

  #showServer() {
    const {state, reason} = this.#server;
    this.#set(state, {live: "live", away: "data server away", connecting: "connecting"}[state]);
    this.#say(
      state === "away" ? `The data server does not answer (${reason}). The page shows what it has, and goes on by itself.` : "",
    );
  }

  #set(state, text) {
    this.#connection.className = state;
    this.#connection.lastElementChild.textContent = text;
  }

  #say(text) {
    this.#banner.textContent = text;
    this.#banner.hidden = !text;
  }
}

function emptiness({data: {points}, note}, state) {
  if (points) return "";
  if (!note || note.loading) return state === "live" ? "loading…" : "waiting for the data server";
  return note.topics ? "waiting for points" : "nothing that was logged fits this plot yet";
}
