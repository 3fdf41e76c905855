// The data websocket: opened with the page's token, opened again when it breaks. Another viewer process does not know that token:
// then the page is loaded again, once it is looked at, for its address says all that it shows.

import {decode} from "./frames.js";

const FIRST_RETRY = 250;
const LAST_RETRY = 5000;
const FOREIGN = 4403; // the viewer is another process than the one that made this page
const STALE = new Set([FOREIGN, 4404]); // this page will never be answered again
const RELOADS_APART = 30_000; // sooner it would be in vain
const RELOADED = "streamvis reloaded";

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
      if (STALE.has(code)) {
        this.#status.stale(reason);
        if (code === FOREIGN) reload();
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

function reload() {
  if (Date.now() - Number(sessionStorage.getItem(RELOADED)) < RELOADS_APART) return;
  if (document.hidden) {
    document.addEventListener("visibilitychange", reload, {once: true});
    return;
  }
  sessionStorage.setItem(RELOADED, Date.now());
  location.reload();
}
