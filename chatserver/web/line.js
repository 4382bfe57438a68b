// The socket: lines to frames, tags to promises, and a new connection after each end. Knows nothing of rooms.

/** @typedef {import("./core/types.js").Refusal} Refusal */
/** @typedef {Record<string, any>} Frame */
/**
 * What the line tells its owner. `opened` is called for each connection; until it calls `ready`, only `now` sends.
 * @typedef {{opened: () => void, frame: (frame: Frame) => void, ended: (closing: Frame|null) => void, waits: (until: number) => void}} Owner
 */

const FIRST = 500;
const LONGEST = 30_000;
/** How long a connection lasts before the next wait is short again, in milliseconds. */
const STEADY = 10_000;
/** How long an answer, or a connection, may take, in milliseconds. */
const PATIENCE = 30_000;

/** @param {string} error @param {string} text @param {number|true} [retry] @returns {Refusal} */
export function refusal(error, text, retry) {
  return /** @type {any} */ (Object.assign(new Error(text), { error, text }, retry === undefined ? {} : { retry }));
}

/**
 * How long to wait before the attempt of this number, in milliseconds. @param {number} attempt from 0
 * @param {number} chance from 0 to 1
 */
export const wait = (attempt, chance) => Math.min(LONGEST, FIRST * 2 ** Math.min(attempt, 10)) * (0.5 + chance / 2);

export class Line {
  /** @param {string} url @param {Owner} owner */
  constructor(url, owner) {
    this.url = url;
    this.owner = owner;
    /** @type {WebSocket|null} */
    this.socket = null;
    /** @type {Map<number, {resolve: (answer: Frame) => void, reject: (why: Refusal) => void, taken?: (answer: Frame) => void,
     *   timer: any}>} in order */
    this.asked = new Map();
    this.tag = 0;
    this.attempt = 0;
    this.opened = 0;
    this.heard = 0;
    /** @type {Frame|null} */
    this.closing = null;
    this.isUp = false;
    this.isWanted = false;
    /** @type {any} */
    this.timer = 0;
    /** No attempt is made before, also if the network is back: the server said so. */
    this.notBefore = 0;
    this.wake = () => this.#hurry();
    globalThis.addEventListener?.("online", this.wake);
    globalThis.document?.addEventListener("visibilitychange", this.wake);
    globalThis.addEventListener?.("offline", () => this.socket && this.send({ cmd: "ping" }).catch(() => {}));
  }

  /** Connects, and again after each end, until `stop`. */
  start() {
    this.isWanted = true;
    if (!this.socket) this.#connect();
  }

  /** Ends the connection, and makes no other. */
  stop() {
    this.isWanted = false;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  /** Ends the connection and makes another at once. */
  again() {
    this.attempt = this.notBefore = 0;
    this.isWanted = true;
    if (this.socket) this.socket.close();
    else this.#hurry();
  }

  /**
   * Sends a command, and resolves with its answer. `taken` is called with it before anything that comes behind it is read.
   * @param {Frame} command @param {{patience?: number, taken?: (answer: Frame) => void}} [more] @returns {Promise<Frame>}
   */
  send(command, { patience = PATIENCE, taken } = {}) {
    const { socket } = this;
    if (!socket || !this.isUp) return Promise.reject(refusal("offline", "There is no connection to the server."));
    const tag = ++this.tag;
    return new Promise((resolve, reject) => {
      const asked = { resolve, reject, taken, timer: setTimeout(() => this.#silent(socket, tag, patience), patience) };
      this.asked.set(tag, asked);
      socket.send(JSON.stringify({ cmd: command.cmd, tag, ...command }));
    });
  }

  #connect() {
    clearTimeout(this.timer);
    this.closing = null;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.timer = setTimeout(() => socket.close(), PATIENCE);
    socket.onopen = () => {
      clearTimeout(this.timer);
      this.isUp = true;
      this.opened = Date.now();
      this.owner.opened();
    };
    socket.onmessage = (message) => {
      if (this.socket === socket && typeof message.data === "string") this.#read(message.data);
    };
    socket.onclose = () => {
      if (this.socket === socket) this.#ended();
    };
  }

  /** @param {string} data one or more lines */
  #read(data) {
    this.heard = Date.now();
    for (const line of data.split("\n")) {
      if (!line.trim()) continue;
      let frame;
      try {
        frame = JSON.parse(line);
      } catch {
        continue; // not a line of this protocol
      }
      if (typeof frame === "object" && frame !== null) this.#frame(frame);
    }
  }

  /** @param {Frame} frame */
  #frame(frame) {
    if (frame.event === "ping") this.send({ cmd: "ping" }).catch(() => {});
    else if (frame.event !== undefined) {
      if (frame.event === "closing") this.closing = frame;
      this.owner.frame(frame);
    } else {
      // The answer to a line that could not be read has no tag: it is that of the oldest one.
      const tag = frame.tag ?? this.asked.keys().next().value;
      const asked = this.asked.get(tag);
      if (!asked) return;
      this.asked.delete(tag);
      clearTimeout(asked.timer);
      if (frame.ok) {
        asked.taken?.(frame);
        asked.resolve(frame);
      } else {
        asked.reject(refusal(frame.error ?? "bad-command", frame.text ?? "The server refused this.", frame.retry));
      }
    }
  }

  /**
   * No answer came: unless other things do, the connection is taken for broken.
   * @param {WebSocket} socket @param {number} tag @param {number} patience
   */
  #silent(socket, tag, patience) {
    const asked = this.asked.get(tag);
    if (this.socket !== socket || !asked) return;
    if (Date.now() - this.heard < patience) {
      asked.timer = setTimeout(() => this.#silent(socket, tag, patience), patience);
      return;
    }
    socket.close();
    this.#ended(); // a broken network would let the closing handshake wait for minutes
  }

  #ended() {
    const { closing } = this;
    this.socket = null;
    this.isUp = false;
    clearTimeout(this.timer);
    for (const { reject, timer } of this.asked.values()) {
      clearTimeout(timer);
      reject(refusal("offline", "The connection ended before the server answered."));
    }
    this.asked.clear();
    if (this.opened && Date.now() - this.opened >= STEADY) this.attempt = 0;
    this.opened = 0;
    const pause = Math.max(wait(this.attempt++, Math.random()), typeof closing?.retry === "number" ? closing.retry * 1000 : 0);
    this.notBefore = typeof closing?.retry === "number" ? Date.now() + closing.retry * 1000 : 0;
    this.owner.ended(closing);
    if (!this.isWanted || this.socket) return;
    this.owner.waits(Date.now() + pause);
    this.timer = setTimeout(() => this.#connect(), pause);
  }

  /** The network is back, or somebody looks: the next attempt is made at once, or the connection is tested. */
  #hurry() {
    if (globalThis.document?.visibilityState === "hidden" || !this.isWanted) return;
    if (!this.socket && Date.now() >= this.notBefore) this.#connect();
    else if (this.isUp) this.send({ cmd: "ping" }, { patience: 5000 }).catch(() => {});
  }
}
