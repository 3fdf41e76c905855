// The page of plots: feeds the layers from the data websocket, and wires what a person can touch.

import {CellTools} from "./celltools.js";
import {Colors} from "./colors.js";
import {Connection} from "./connection.js";
import {DataMenu} from "./datamenu.js";
import {wireDrag} from "./drag.js";
import {Exports} from "./export.js";
import {Op, PAGE, noteOf} from "./frames.js";
import {helpDialog, wireKeys} from "./keys.js";
import {layers} from "./layers.js";
import {Panel} from "./panel.js";
import {Plot} from "./plot.js";
import {Ranges} from "./ranges.js";
import {Readout} from "./readout.js";
import {savedFrames} from "./saved.js";
import {ShareMenu} from "./sharemenu.js";
import {SERVER_KEYS, State} from "./state.js";
import {Status} from "./status.js";
import {Styles} from "./styles.js";
import {adoptStock} from "./stock.js";
import {Theme} from "./theme.js";
import {Timelines} from "./timeline.js";
import {toast} from "./toast.js";
import {refuseSmoothing, wireToolbar} from "./toolbar.js";
import {Visibility} from "./visibility.js";

const QUERY_MS = 150; // a slider that moves shall not ask the server at each pixel

const settings = JSON.parse(document.getElementById("settings").textContent);

/** Resolves when Bokeh has made every plot of the page. */
async function bokehReady(keys) {
  for (;;) {
    adoptStock(layers);
    if (keys.every(key => layers.has(key))) break;
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  return keys.map(key => layers.get(key));
}

/** Resolves after the browser has painted what is due: the first frame paints, the second comes after. */
const painted = () => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));

/** Everything that the page has and that a person can touch. */
class Page {
  #under = null; // the plot under the pointer

  constructor(views, cells, state) {
    const timelines = new Timelines(state);
    const colors = new Colors(settings.scale);
    const visibility = new Visibility(state, () => this.#mask());
    this.state = state;
    this.visibility = visibility;
    const keyOf = index => state.get("color")[index];
    const styles = new Styles(state, () => this.#restyle());
    const controls = {state, timelines, isShown: row => visibility.isShown(row), styleOf: row => styles.of(row), keyOf};
    this.plots = views.map((view, i) => new Plot(i, view, cells[i], settings.plots[i], colors, controls));
    this.theme = new Theme(state, this.plots.map(plot => plot.model), dark => this.#recolor(colors, dark));
    this.ranges = new Ranges(this.plots, state);
    this.panel = new Panel(this.plots, state, visibility, styles);
    const exports = new Exports(settings, state);
    this.readout = new Readout(this.plots, state);
    this.tools = this.plots.map(plot => new CellTools(plot, state, this.ranges, exports));
    this.timelines = timelines;
    this.help = helpDialog();
    this.dataMenu = new DataMenu(this.plots, state);
    this.shareMenu = new ShareMenu(this.plots, state, exports);
    wireToolbar(this);
    wireKeys(this);
    wireDrag(this.plots.map(plot => plot.model), state);
    for (const plot of this.plots) {
      plot.cell.addEventListener("pointerenter", () => (this.#under = plot));
      plot.cell.addEventListener("pointerleave", () => (this.#under = null));
    }
    state.watch(["smooth"], () => this.#smooth(state.get("smooth")));
    this.#smooth(state.get("smooth"));
  }

  /** After a batch of frames. */
  refresh() {
    const recoloured = this.plots.map(plot => plot.noteLabels()).some(changed => changed);
    const changed = this.plots.some(plot => plot.data.changed);
    this.timelines.refresh();
    const news = this.plots.map(plot => plot.refresh()).some(some => some);
    if (recoloured) for (const plot of this.plots) plot.recolor();
    if (news) this.ranges.follow();
    if (changed) this.panel.collect();
    for (const plot of this.plots) plot.data.changed = false;
  }

  /** The plot that a key is about: the only one that shows, or the one under the pointer. */
  get at() {
    const focus = this.state.get("focus");
    return focus ? this.plots[focus - 1] : this.plots.length === 1 ? this.plots[0] : this.#under;
  }

  toggle(key, on, off) {
    this.state.set({[key]: this.state.get(key) === on ? off : on});
  }

  toggleLog(side) {
    for (const plot of this.at ? [this.at] : this.plots) this.tools[plot.index].toggleLog(side);
  }

  grow() {
    if (this.at) this.tools[this.at.index].grow();
  }

  play() {
    const timelines = this.timelines.all;
    const playing = timelines.some(timeline => timeline.playing);
    for (const timeline of timelines) (playing ? timeline.pause() : timeline.play());
  }

  step(by) {
    for (const timeline of this.timelines.all) timeline.step(by);
  }

  /** What the server refuses is taken back, and said in the field that it was written in. */
  undo({shown, query, problems}) {
    if (!this.state.undo(shown, query).length) return;
    for (const [key, text] of Object.entries(problems)) if (!this.dataMenu.refuse(key, text)) toast(`${key}: ${text}`);
  }

  /** Escape: closes pinned values, else the plot that shows alone. */
  leave() {
    if (!this.readout.clear()) this.state.set({focus: 0});
  }

  #mask() {
    for (const plot of this.plots) plot.mask();
    this.ranges.fit();
  }

  #restyle() {
    for (const plot of this.plots) plot.restyle();
  }

  #recolor(colors, dark) {
    colors.dark = dark;
    for (const plot of this.plots) plot.recolor();
    this.panel?.collect();
  }

  #smooth(weight) {
    for (const plot of this.plots.filter(({smooths}) => smooths)) plot.data.smooth(weight);
    this.ranges.fit();
  }
}

/** The plots have changed under the page: the address brings it back as it was, with the new ones. */
function reload(state) {
  state.flush();
  location.reload();
}

/** Applies frames to the page, one after the other. */
async function apply(page, status, {op, plot, arrays}) {
  if (op === Op.TICK) {
    page.refresh();
    status.count(page.plots);
    await painted();
    status.countUnplaced(page.plots);
  } else if (plot === PAGE) {
    const note = noteOf(arrays);
    if (note.schema?.changed) return reload(page.state);
    status.show(note, page.plots);
    page.dataMenu.show(note);
    if (note.refused) page.undo(note.refused);
  } else {
    page.plots[plot].apply(op, arrays);
  }
}

/** The page from the viewer, which goes on sending what is new. */
function live(ready, status, state) {
  const connection = new Connection(window.dataSocket, status);
  ready.then(({plots}) => {
    for (const {index, data} of plots) data.onlook = look => connection.send(`look ${JSON.stringify({plot: index, ...look})}`);
  });
  connection.onframe = async frame => {
    await apply(await ready, status, frame);
    if (frame.op === Op.TICK) connection.painted();
  };
  let timer = 0;
  state.watch(SERVER_KEYS, () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      state.flush(); // a socket that is opened again reads the address
      connection.send(`query ${state.search}`);
    }, QUERY_MS);
  });
  connection.adopt(window.dataSocket);
}

/** The page from a file. */
async function saved(ready, status) {
  const page = await ready;
  for (const frame of await savedFrames()) await apply(page, status, frame);
  if (page.plots.some(({data}) => data.thinned)) refuseSmoothing();
  status.saved(settings.saved);
}

function main() {
  const status = new Status();
  const cells = [...document.querySelectorAll(".cell")];
  // a file has no query: there, what stands after # says how the controls stand
  const [search, mark] = settings.saved ? [location.hash.slice(1) || settings.query, "#"] : [location.search, "?"];
  const state = new State(search, cells.length, query => history.replaceState(null, "", mark + query));
  const ready = bokehReady(cells.map(cell => cell.dataset.key)).then(views => new Page(views, cells, state));
  ready.then(({plots}) => state.watch(["axes", "hide", "only", "runs", "group"], () => painted().then(() => status.countUnplaced(plots))));
  if (settings.saved) saved(ready, status);
  else live(ready, status, state);
}

main();
