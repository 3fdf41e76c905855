// The controls in the page's head.

const byId = id => document.getElementById(id);

/** A button that is pressed while a key of the state has a value. */
function wireToggle(id, page, key, on, off) {
  const show = () => byId(id).setAttribute("aria-pressed", page.state.get(key) === on);
  byId(id).addEventListener("click", () => page.toggle(key, on, off));
  page.state.watch([key], show);
  show();
}

export function wireToolbar(page) {
  wireToggle("drag", page, "drag", "zoom", "pan");
  wireToggle("fit", page, "fit", "robust", "all");
  wireToggle("link", page, "link", "x", "none");
  wireToggle("cross", page, "cross", "on", "off");
  byId("theme").addEventListener("click", () => page.theme.toggle());
  byId("help").addEventListener("click", () => page.help.showModal());
  wireSmoothing(page.state);
}

function wireSmoothing(state) {
  const [slider, number] = [byId("smooth-slider"), byId("smooth")];
  const show = () => {
    slider.value = state.get("smooth");
    if (document.activeElement !== number) number.value = state.get("smooth");
  };
  slider.addEventListener("input", () => state.set({smooth: slider.valueAsNumber}));
  number.addEventListener("input", () => number.checkValidity() && number.value !== "" && state.set({smooth: number.valueAsNumber}));
  number.addEventListener("change", () => {
    if (!number.checkValidity() || number.value === "") number.value = state.get("smooth");
  });
  state.watch(["smooth"], show);
  show();
}

/** In a file that lacks points, whose average would be another. */
export function refuseSmoothing() {
  for (const id of ["smooth-slider", "smooth"]) byId(id).disabled = true;
  byId("smooth").closest("label").title = "This page was saved with a part of the points, of which no average can be made";
}
