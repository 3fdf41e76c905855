// The first page: search, and the link that opens several plots.

const search = document.getElementById("search");
const form = document.getElementById("builder");
const built = document.getElementById("built");

search.addEventListener("input", () => {
  const wanted = search.value.trim().toLowerCase();
  for (const item of document.querySelectorAll("li[data-text]")) item.hidden = !item.dataset.text.includes(wanted);
});

function layout(plots, direction) {
  if (direction === "cols") return ["cols", plots.join(";")];
  const wide = direction === "grid" ? 2 : 1;
  const rows = [];
  for (let i = 0; i < plots.length; i += wide) rows.push(plots.slice(i, i + wide).join(","));
  return ["rows", rows.join(";")];
}

function rebuild() {
  const plots = [...document.querySelectorAll("input[name=plot]:checked")].map(box => box.value);
  const scopes = form.elements.scopes.value.trim();
  if (!plots.length) {
    built.href = built.dataset.everything + (scopes ? `&scopes=${encodeURIComponent(scopes)}` : "");
    return;
  }
  const [key, value] = layout(plots, form.elements.direction.value);
  const query = `${key}=${encodeURIComponent(value)}`;
  built.href = `${new URL("../", import.meta.url).pathname}?${query}${scopes ? `&scopes=${encodeURIComponent(scopes)}` : ""}`;
  built.textContent = `Open ${plots.length} plot${plots.length > 1 ? "s" : ""}`;
}

if (form) {
  const everything = built.textContent;
  const changed = () => {
    built.textContent = everything;
    rebuild();
  };
  form.addEventListener("input", changed);
  form.addEventListener("submit", event => {
    event.preventDefault();
    location.assign(built.href);
  });
  document.getElementById("plots").addEventListener("change", changed);
}
