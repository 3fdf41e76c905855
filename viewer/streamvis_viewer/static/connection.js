// The data websocket: opened with the page's token, opened again when it breaks.

import {decode} from "./frames.js";

const FIRST_RETRY = 250;
const LAST_RETRY = 5000;
const RELOAD_CODES = new Set([4403, 4404]); // this page will never be answered again

export class Connection {
  #token;
  #status;
  #socket = null;
  #retry = FIRST_RETRY;
  #queue = Promise.resolve(); // frames are applied one after the other, in order

  constructor(token, status) {
    this.#token = token;
    this.#status = status;
  }

  open() {
    const address = new URL(`../data${location.search}`, import.meta.url);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, ["streamvis", this.#token]);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({data}) => {
      this.#retry = FIRST_RETRY;
      this.#status.connected();
      this.#queue = this.#queue.then(() => socket === this.#socket && this.onframe(decode(data)));
    };
    socket.onclose = ({code, reason}) => {
      if (RELOAD_CODES.has(code)) {
        this.#status.stale(reason);
        return;
      }
      this.#status.disconnected();
      setTimeout(() => this.open(), this.#retry);
      this.#retry = Math.min(2 * this.#retry, LAST_RETRY);
    };
  }

  send(text) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
  }
}
