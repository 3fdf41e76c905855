// A page that was saved as a file: it brings the frames that the data websocket had sent, and asks nobody for more.

import {decode} from "./frames.js";

/** The frames, in order. */
export async function savedFrames() {
  const packed = Uint8Array.from(atob(document.getElementById("frames").textContent), char => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const view = new DataView(buffer);
  const frames = [];
  for (let at = 0; at < buffer.byteLength;) {
    const size = view.getUint32(at, true);
    frames.push(decode(buffer.slice(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  return frames;
}
