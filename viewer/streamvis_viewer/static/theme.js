// Figures in the colours of a dark page. The server styles them for a light one; what a schema has set stays.

const DARK = {"#1d2430": "#e6e9ef", "#4a5363": "#aab3c2", "#c3c9d3": "#454d5c", "#e7eaef": "#2b313c"};
const LIGHT = Object.fromEntries(Object.entries(DARK).map(([light, dark]) => [dark, light]));

/** Recolours the figures now and whenever the browser's scheme changes. */
export function follow_scheme(figures) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const recolor = table => figures.forEach(figure => parts(figure).forEach(part => exchange(part, table)));
  if (dark.matches) recolor(DARK);
  dark.addEventListener("change", () => recolor(dark.matches ? DARK : LIGHT));
}

const parts = figure => [figure.title, ...figure.below, ...figure.left, ...figure.center].filter(part => part);

function exchange(part, table) {
  const changes = {};
  for (const name of Object.keys(part.attributes)) {
    if (name.endsWith("_color") && part.attributes[name] in table) changes[name] = table[part.attributes[name]];
  }
  part.setv(changes, {sync: false});
}
