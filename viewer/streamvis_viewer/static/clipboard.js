// Copying text, also where the browser keeps its clipboard from pages without https.

export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.body.appendChild(Object.assign(document.createElement("textarea"), {value: text}));
  area.select();
  document.execCommand("copy");
  area.remove();
}
