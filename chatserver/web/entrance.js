// Logging in and out: by password, by the cookie, or by a secret that only this page knows.

import { refusal } from "./line.js";

/** @typedef {Record<string, any>} Frame */

/** What every login asks for. */
const SHARED = { state: true, quotes: true, typing: true };
/** How long one waits for a connection to log in on, in milliseconds. */
const PATIENCE = 10_000;

export class Entrance {
  /** @param {import("./client.js").Chat} chat */
  constructor(chat) {
    this.chat = chat;
    /** Whether the cookie of this device may be good. */
    this.hasCookie = true;
    /** The secret of a session that ends with this page; never stored. @type {string} */
    this.secret = "";
    /** @type {(() => void)[]} those who wait for a connection */
    this.waiting = [];
  }

  /** @param {{name: string, password: string, keep: boolean}} fields */
  async login({ name, password, keep }) {
    await this.enter({ cmd: "login", name, password, keep: device() }, keep);
  }

  /** @param {{name: string, password: string, code?: string, keep: boolean}} fields */
  async register({ name, password, code, keep }) {
    await this.enter({ cmd: "register", name, password, keep: device(), ...(code ? { code } : {}) }, keep);
  }

  async guest() {
    await this.enter({ cmd: "guest" }, false);
  }

  async logout() {
    if (this.hasCookie) await fetch("/session", { method: "DELETE" }).catch(() => {});
    await this.chat.line.send({ cmd: "logout" }).catch(() => {});
    this.chat.out();
  }

  /** @param {Frame} command @param {boolean} keep */
  async enter(command, keep) {
    await this.#up();
    const answer = await this.chat.line.send({ ...command, ...SHARED }, { taken: (one) => this.chat.greeted(one) });
    this.hasCookie = false;
    if (answer.secret && !(keep && (await this.#trade(answer.secret)))) this.secret = answer.secret;
    delete answer.secret;
    if (this.hasCookie) this.chat.post.entered();
    this.chat.after();
  }

  /** Trades a secret for a cookie that no script can read. @param {string} secret */
  async #trade(secret) {
    if (!this.chat.state.server?.features?.includes("cookie")) return false;
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("/session", { method: "POST", headers, body: JSON.stringify({ secret }) }).catch(() => null);
    this.hasCookie = answer?.status === 204;
    return this.hasCookie;
  }

  /** Waits for a connection. @returns {Promise<void>} */
  #up() {
    if (this.chat.line.isUp) return Promise.resolve();
    this.chat.line.start();
    return new Promise((resolve, reject) => {
      this.waiting.push(resolve);
      setTimeout(() => reject(refusal("offline", "The server does not answer. Try again later.")), PATIENCE);
    });
  }

  /** A connection is there. */
  opened() {
    delete this.chat.state.retryAt;
    for (const resolve of this.waiting.splice(0)) resolve();
    if (this.chat.state.phase === "login") return this.#facts();
    if (this.chat.state.me?.guest) return this.#again({ cmd: "guest" });
    const known = { cmd: "login", ...this.chat.model.positions() };
    if (this.secret) return this.#again({ ...known, secret: this.secret });
    if (this.hasCookie) {
      if (!this.chat.state.server) this.#facts();
      return this.#again({ ...known, cookie: true });
    }
    this.#facts();
    this.chat.out();
  }

  #facts() {
    this.chat.line.send({ cmd: "server" }).then((answer) => {
      this.chat.state.server = answer;
      this.chat.changed();
    }, () => {});
  }

  /** Logs in as before, or as the next guest, who goes on where the one before was cut off. @param {Frame} command */
  #again(command) {
    const { me } = this.chat.state;
    this.chat.line.send({ ...command, ...SHARED }, { taken: (answer) => this.chat.greeted(answer) }).then(async (answer) => {
      if (answer.secret) this.secret = answer.secret;
      if (me?.guest) {
        this.chat.state.notice = `The connection was interrupted. You are now called ${answer.name}.`;
        await this.chat.renamed(me.name, answer.name);
      }
      this.chat.after();
    }, (why) => {
      if (why.error === "offline") return;
      if (why.retry === undefined) this.chat.out(this.chat.state.me ? why.text : "");
      else setTimeout(() => this.chat.line.isUp && this.#again(command), typeof why.retry === "number" ? why.retry * 1000 : 1000);
    });
  }
}

/** What this device is called in the list of sessions, such as "Firefox on Linux". */
function device() {
  const agent = navigator.userAgent;
  const browser = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrom", "Chromium"], ["Safari/", "Safari"]];
  const system = [["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Windows", "Windows"], ["Mac OS", "macOS"], ["Linux", "Linux"]];
  const find = (/** @type {string[][]} */ list) => list.find(([mark]) => agent.includes(mark))?.[1] ?? "";
  return [find(browser) || "Browser", find(system)].filter(Boolean).join(" on ");
}
