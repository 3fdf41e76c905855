// Frames of the data websocket; frames.py describes them.

export const PAGE = 255;
export const Op = Object.freeze({NOTE: 0, REPLACE: 1, APPEND: 2, CLEAR: 3, DETAIL: 4, DENSITY: 5, TICK: 6});

const TYPES = {f4: Float32Array, f8: Float64Array, u4: Uint32Array, u1: Uint8Array};
const utf8 = new TextDecoder();

/** The operation, the plot and the arrays of a frame; arrays of four-byte numbers share its memory. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const count = view.getUint16(2, true);
  const arrays = [];
  let at = 4 + 8 * count;
  for (let i = 0; i < count; i++) {
    const head = 4 + 8 * i;
    const type = TYPES[String.fromCharCode(view.getUint8(head), view.getUint8(head + 1))];
    const bytes = view.getUint32(head + 4, true);
    arrays.push(
      type.BYTES_PER_ELEMENT > 4
        ? new type(buffer.slice(at, at + bytes)) // may lie across an 8-byte boundary
        : new type(buffer, at, bytes / type.BYTES_PER_ELEMENT),
    );
    at += bytes + (-bytes & 3);
  }
  return {op: view.getUint8(0), plot: view.getUint8(1), arrays};
}

/** The JSON of a NOTE. */
export const noteOf = ([bytes]) => JSON.parse(utf8.decode(bytes));
