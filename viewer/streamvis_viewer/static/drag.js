// What dragging over a plot does: it moves the window, or draws the box to zoom into. Shift does the other of the two.

// Who holds the button down for a moment before moving drags all the same: for Bokeh that would be a press, which no tool here wants.
Bokeh.require("core/ui_gestures").UIGestures.press_threshold = 2 ** 31 - 1;

const byType = (model, type) => model.toolbar.tools.find(tool => tool.type === type);

/** Keeps the tools of all figures as the state's `drag` says. */
export function wireDrag(models, state) {
  let shift = false;
  const apply = () => {
    const zooms = (state.get("drag") === "zoom") !== shift;
    for (const model of models) {
      const [pan, box] = [byType(model, "PanTool"), byType(model, "BoxZoomTool")];
      if (!pan || !box) continue;
      (zooms ? pan : box).active = false;
      (zooms ? box : pan).active = true;
    }
  };
  const note = event => {
    if (event.shiftKey === shift) return;
    shift = event.shiftKey;
    apply();
  };
  for (const name of ["keydown", "keyup", "pointerdown"]) addEventListener(name, note, true);
  state.watch(["drag"], apply);
  apply();
}
