// The page of plots: feeds the layers from the data websocket, and wires what a person can touch.

import {Connection} from "./connection.js";
import {Op, PAGE, noteOf} from "./frames.js";
import {layers} from "./layers.js";
import {Panel} from "./panel.js";
import {Plot} from "./plot.js";
import {Readout} from "./readout.js";
import {Status} from "./status.js";
import {follow_scheme} from "./theme.js";

const settings = JSON.parse(document.getElementById("settings").textContent);
const status = new Status();

/** Resolves when Bokeh has made every plot of the page. */
async function bokehReady(keys) {
  while (!keys.every(key => layers.has(key))) await new Promise(resolve => setTimeout(resolve, 10));
  return keys.map(key => layers.get(key));
}

/** Resolves after the browser has painted what is due: the first frame paints, the second comes after. */
const painted = () => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));

async function main() {
  const cells = [...document.querySelectorAll(".cell")];
  const live = bokehReady(cells.map(cell => cell.dataset.key)).then(views => {
    follow_scheme(views.map(view => view.plot_view.model));
    const plots = views.map((view, i) => new Plot(view, cells[i], settings.plots[i]));
    const panel = new Panel(plots);
    new Readout(plots);
    return {plots, panel};
  });

  const connection = new Connection(settings.token, status);
  connection.onframe = async ({op, plot, arrays}) => {
    const {plots, panel} = await live;
    if (op === Op.TICK) {
      panel.refresh();
      for (const each of plots) each.refresh();
      status.count(plots);
      await painted();
      connection.send("painted");
    } else if (plot === PAGE) {
      const note = noteOf(arrays);
      status.show(note, plots);
    } else {
      plots[plot].apply(op, arrays);
    }
  };
  connection.open();
}

main();
