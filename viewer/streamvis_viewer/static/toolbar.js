// The controls in the page's head.

const byId = id => document.getElementById(id);

/** A button that is pressed while a key of the state has a value. */
function toggle(id, state, key, on, off) {
  const show = () => byId(id).setAttribute("aria-pressed", state.get(key) === on);
  byId(id).addEventListener("click", () => state.set({[key]: state.get(key) === on ? off : on}));
  state.watch([key], show);
  show();
}

export function wireToolbar(state, theme) {
  toggle("fit", state, "fit", "robust", "all");
  toggle("link", state, "link", "x", "none");
  toggle("cross", state, "cross", "on", "off");
  byId("theme").addEventListener("click", () => theme.toggle());
  wireSmoothing(state);
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
