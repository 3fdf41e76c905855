// The data websocket: opened by early.js with the page's token, opened again when it breaks. Another viewer process does not know that token:
// then the page is loaded again, once it is looked at, for its address says all that it shows.

import {decode} from "./frames.js";

const FIRST_RETRY = 250;
const LAST_RETRY = 5000;
const BEAT_MS = 5000;
const ASK_BEATS = 4; // without a message until the viewer is asked whether it is there
const LOST_BEATS = 18; // until it is not: a network that changed ends no connection, and a long message takes its time
const WOKEN_BEATS = 6; // the same once a person looks at the page again
const FOREIGN = 4403; // the viewer is another process than the one that made this page
const STALE = new Set([FOREIGN, 4404]); // this page will never be answered again
const LOCKED = new Set([401, 403]);
const RELOADS_APART = 30_000; // sooner it would be in vain
const RELOADED = "streamvis reloaded";

export class Connection {
  #open;
  #status;
  #socket = null;
  #retry = FIRST_RETRY;
  #ahead = false; // whether early.js has said that the first frames are painted
  #silent = 0; // beats, not seconds: a page that was busy or asleep has not listened
  #queue = Promise.resolve(); // frames are applied one after the other, in order

  /** `open`: opens a socket, see early.js. */
  constructor({open}, status) {
    this.#open = open;
    this.#status = status;
    setInterval(() => this.#beat(), BEAT_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    addEventListener("online", () => this.#hurry());
  }

  /** Goes on with the socket that was opened before there was anybody to listen. */
  adopt({socket, events}) {
    this.#listen(socket);
    this.#ahead = events[0]?.type === "message";
    for (const event of events) socket[`on${event.type}`](event);
  }

  #listen(socket) {
    let heard = false;
    this.#socket = socket;
    this.#ahead = false;
    this.#silent = 0;
    socket.onmessage = ({data}) => {
      heard = true;
      this.#silent = 0;
      this.#retry = FIRST_RETRY;
      this.#status.connected();
      if (data) this.#queue = this.#queue.then(() => socket === this.#socket && this.onframe(decode(data)));
    };
    socket.onclose = async ({code, reason}) => {
      const locked = !heard && !STALE.has(code) && (await isLocked());
      if (socket !== this.#socket) return;
      this.#socket = null;
      if (locked) this.#status.stale("this viewer asks for its token");
      else if (STALE.has(code)) this.#status.stale(reason);
      else this.#status.disconnected();
      if (code === FOREIGN) reload();
      if (!STALE.has(code)) this.#openSoon();
    };
  }

  send(text) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  /** What was sent until now is on the screen. */
  painted() {
    if (!this.#ahead) this.send("painted");
    this.#ahead = false;
  }

  #beat() {
    if (!this.#socket) return;
    this.#silent++;
    if (this.#silent === ASK_BEATS) this.send("alive");
    if (this.#silent < LOST_BEATS) return;
    this.#socket.close();
    this.#socket = null;
    this.#status.disconnected();
    this.#openSoon();
  }

  /** The machine may have been asleep, or have changed its network. */
  #hurry() {
    this.#silent = Math.max(this.#silent, LOST_BEATS - WOKEN_BEATS);
    this.send("alive");
  }

  #openSoon() {
    setTimeout(() => this.#listen(this.#open()), this.#retry);
    this.#retry = Math.min(2 * this.#retry, LAST_RETRY);
  }
}

/** Whether the viewer answers, but not us: a browser does not say why it could not open a websocket. */
async function isLocked() {
  try {
    return LOCKED.has((await fetch(new URL("../data", import.meta.url), {cache: "no-store"})).status);
  } catch {
    return false;
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
