// All that views may do: see `Client` in core/types.js. Logs in, keeps the state, fetches pages, and sends.

import { Entrance } from "./entrance.js";
import { restore, taken } from "./core/snapshot.js";
import { Model } from "./core/state.js";
import { Line, refusal } from "./line.js";
import { Store, open } from "./store.js";
import { Pages } from "./pages.js";
import { Post } from "./tabs.js";

/** @typedef {import("./core/types.js").Room} Room */
/** @typedef {import("./core/types.js").Run} Run */
/** @typedef {Record<string, any>} Frame */

/** Reasons of `closing` after which one has to log in again. */
const LOGIN = new Set(["logout", "banned", "disabled", "erased", "password", "session-ended", "token-revoked", "token-expired",
  "certificate-removed"]);
/** Intervals between read marks, and between typing notices, in milliseconds. */
const READ_INTERVAL = 1000;
const TYPING_INTERVAL = 3000;
/** How long after a change it is kept on this device, in milliseconds; and the first time after a login. */
const KEEP_INTERVAL = 250;
const KEEP_FIRST = 20;

/** The client of the page that this script is in. It shows what this device has, and connects. @param {string} [url] */
export async function start(url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/chat`) {
  const chat = new Chat(url, await open());
  await chat.start();
  return chat;
}

export class Chat {
  /** @param {string} url of the WebSocket @param {Store} [store] */
  constructor(url, store = new Store(null)) {
    this.store = store;
    this.model = new Model();
    this.state = this.model.state;
    this.line = new Line(url, {
      opened: () => this.entrance.opened(),
      frame: (frame) => this.#frame(frame),
      ended: (closing) => this.#ended(closing),
      waits: (until) => {
        this.state.retryAt = until;
        this.changed();
      },
    });
    this.post = new Post(this, store);
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    this.isChanged = false;
    this.entrance = new Entrance(this);
    this.pages = new Pages(this);
    /** @type {Map<number, number>} read marks to be sent, by room */
    this.marks = new Map();
    /** @type {any} */
    this.marking = 0;
    this.typed = 0;
    /** @type {any} */
    this.fading = 0;
    /** @type {Map<string, string>} */
    this.drafts = new Map();
    /** @type {Map<number, any>} what is kept of rooms, to see what has changed */
    this.kept = new Map();
    /** @type {any} */
    this.keeping = 0;
  }

  /** Shows what this device has kept, and connects. */
  async start() {
    try {
      this.drafts = await this.store.drafts();
      const kept = await this.store.page();
      if (kept) {
        restore(this.model, kept);
        this.state.phase = "offline";
        await this.post.open(kept.page.me.name);
      }
    } catch {
      this.model.forget(); // what is kept is of no use: the server has all of it
    }
    globalThis.document?.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && this.#keep());
    this.line.start();
  }

  /** @param {() => void} listener */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Tells those who listen, once for all changes of a turn. */
  changed() {
    if (this.isChanged) return;
    this.isChanged = true;
    queueMicrotask(() => {
      this.isChanged = false;
      if (this.entrance.hasCookie && ["online", "offline"].includes(this.state.phase)) {
        this.keeping ||= setTimeout(() => this.#keep(), this.kept.size ? KEEP_INTERVAL : KEEP_FIRST);
      }
      for (const listener of [...this.listeners]) listener();
    });
  }

  /** Keeps the state on this device, if one stays logged in here. */
  #keep() {
    clearTimeout(this.keeping);
    this.keeping = 0;
    if (!this.entrance.hasCookie || !this.state.me || this.state.me.guest) return;
    const { page, rooms, keep } = taken(this.model, this.kept);
    this.store.keepPage(page, rooms, keep).catch(() => this.kept.clear());
  }

  /** Another tab has logged in: so can this one. */
  entered() {
    if (this.state.phase !== "login") return;
    this.entrance.hasCookie = true;
    this.state.phase = "starting";
    this.line.again();
  }

  /** The notice has been read. */
  dismiss() {
    delete this.state.notice;
    this.changed();
  }

  // Logging in and out

  /** @param {{name: string, password: string, keep: boolean}} fields */
  login(fields) {
    return this.entrance.login(fields);
  }

  /** @param {{name: string, password: string, code?: string, keep: boolean}} fields */
  register(fields) {
    return this.entrance.register(fields);
  }

  guest() {
    return this.entrance.guest();
  }

  logout() {
    return this.entrance.logout();
  }

  /** The login is answered; nothing that follows has been read yet. @param {Frame} answer */
  greeted(answer) {
    const former = this.state.me?.name;
    if (former !== undefined && former !== answer.name) this.#forget();
    this.model.greet(answer);
    for (const [id, seq] of this.marks) this.model.mark(id, seq);
    this.changed();
  }

  /** What is asked and sent after each login. */
  after() {
    this.#ignored();
    this.line.send({ cmd: "who" }).then((answer) => this.model.present(answer.users), () => {}).then(() => this.changed());
    this.#mark();
    this.post.open(this.state.me?.name ?? "");
    this.#refresh();
    if (this.state.current) this.show(this.state.current);
  }

  #ignored() {
    this.line.send({ cmd: "ignore" }).then((answer) => {
      this.state.ignored = new Set(answer.names);
      this.changed();
    }, () => {});
  }

  /** To the login page. @param {string} [notice] */
  out(notice) {
    this.entrance.secret = "";
    this.entrance.hasCookie = false;
    this.#forget();
    this.state.phase = "login";
    if (notice) this.state.notice = notice;
    this.post.open("");
    this.changed();
  }

  /** Forgets the account, also on the disk; its outbox and its drafts stay. */
  #forget() {
    clearTimeout(this.keeping);
    this.keeping = 0;
    this.marks.clear();
    this.kept.clear();
    this.model.forget();
    this.store.forgetPage().catch(() => {});
  }

  // What the server sends

  /** @param {Frame} frame */
  #frame(frame) {
    const former = this.state.me?.name;
    if (frame.event === "read" && frame.back) this.marks.delete(frame.room_id);
    this.model.event(frame, Date.now());
    const { me } = this.state;
    if (me && former !== undefined && former !== me.name) this.renamed(former, me.name);
    if (frame.event === "message" && frame.id && this.model.isMe(frame.from)) this.post.stored(frame.id);
    if (frame.event === "typing") this.#fade();
    if (this.model.stale) this.#refresh();
    this.changed();
  }

  /** What is not sent goes on under another name. @param {string} from @param {string} to */
  async renamed(from, to) {
    for (const [key, text] of [...this.drafts]) {
      if (!key.startsWith(`${from} `)) continue;
      this.#draft(key, "");
      this.#draft(to + key.slice(from.length), text);
    }
    await this.post.renamed(to);
  }

  #fade() {
    clearTimeout(this.fading);
    const next = this.model.fade(Date.now());
    if (next) this.fading = setTimeout(() => this.#fade(), next - Date.now() + 50);
    this.changed();
  }

  /** Asks for the numbers of all rooms, if events did not suffice to know them. */
  async #refresh() {
    const { model } = this;
    if (!model.stale || model.since || this.state.phase !== "online") return;
    this.#mark();
    model.asking();
    const mine = model.since;
    /** @type {Frame[]} */
    const rooms = [];
    try {
      for (let after = undefined, more = true; more; after = rooms[rooms.length - 1]?.room) {
        const answer = await this.line.send({ cmd: "unread", state: true, ...(after ? { after } : {}) });
        rooms.push(...answer.rooms);
        more = Boolean(answer.more) && answer.rooms.length > 0;
      }
    } catch {
      if (model.since === mine) model.since = null;
      return;
    }
    if (model.since !== mine) return; // another login has come between
    model.counted(rooms);
    this.changed();
    if (model.stale) this.#refresh();
  }

  /** @param {Frame|null} closing */
  #ended(closing) {
    this.post.ended(closing?.reason);
    this.model.since = null;
    this.pages.clear();
    if (closing && LOGIN.has(closing.reason)) this.out(closing.text);
    if (this.state.phase === "online") this.state.phase = "offline";
    // Whoever looks at the form needs no connection, once its facts are here.
    if (this.state.phase === "login" && this.state.server) this.line.stop();
    this.changed();
  }

  // Commands

  /** @param {Frame} command @returns {Promise<Frame>} */
  async command(command) {
    if (this.state.phase !== "online") throw refusal("offline", "There is no connection to the server at the moment.");
    if (command.cmd === "read" && command.back) this.marks.delete(this.called(command.room)?.id ?? 0);
    const answer = await this.line.send(command);
    const { model, state } = this;
    if (command.cmd === "read") {
      model.mark(answer.room_id, answer.seq, command.back);
      this.#refresh();
    } else if (command.cmd === "leave") model.drop(answer.room_id);
    else if (command.cmd === "prefer" && command.room) model.notify(answer.room_id, answer.notify);
    else if (command.cmd === "prefer") {
      const { ok, tag, cmd, ...prefer } = answer;
      state.prefer = prefer;
    } else if (command.cmd === "rename" && state.me) {
      state.me = { name: answer.name, guest: false, ...(answer.display ? { display: answer.display } : {}) };
    } else if (["read-all", "ignore", "unignore", "join", "create"].includes(command.cmd)) {
      if (command.name && command.cmd.endsWith("ignore")) this.#ignored();
      model.stale ||= Boolean(command.room || command.name || command.cmd === "read-all");
      this.#refresh();
    }
    this.changed();
    return answer;
  }

  /** @param {number} id */
  room(id) {
    return this.state.rooms.get(id);
  }

  /** @param {string} label */
  called(label) {
    return this.model.called(label);
  }

  /** @param {string} label @returns {Promise<Room>} */
  async join(label) {
    const answer = await this.command({ cmd: "join", room: label });
    const room = this.room(answer.room_id) ?? this.called(label);
    if (!room) throw refusal("no-such-room", `There is no room ${label}.`);
    return room;
  }

  /** @param {number} id */
  show(id) {
    const before = this.room(this.state.current);
    if (before && before.id !== id) before.runs.most = 300;
    this.state.current = this.room(id) ? id : 0;
    const room = this.room(id);
    if (room) {
      room.runs.most = 2000;
      this.load(room, { newest: true }).catch(() => {});
    }
    this.changed();
  }

  /**
   * Fetches a page into memory, unless it is there. @param {Room} room @param {import("./pages.js").Place} place
   * @returns {Promise<Run|null>}
   */
  load(room, place) {
    return this.pages.load(room, place);
  }

  /** @param {string} label @param {string} text @param {{re?: number, draft?: boolean}} [more] */
  async send(label, text, more = {}) {
    const room = this.called(label);
    const draft = more.draft ? this.#draftKey(label) : undefined;
    await this.#put({ kind: "say", room: room?.id ?? 0, label, text, ...(more.re ? { re: more.re } : {}) }, draft);
  }

  /** @param {Room} room @param {number} seq @param {string} text */
  async edit(room, seq, text) {
    await this.#put({ kind: "edit", room: room.id, label: room.label, text, of: seq });
  }

  /**
   * @param {{kind: "say"|"edit", room: number, label: string, text: string, re?: number, of?: number}} fields
   * @param {string} [draft] see `Store.put`
   */
  async #put(fields, draft) {
    const { me } = this.state;
    if (!me) throw refusal("login-required", "Log in first.");
    this.#check(fields.text, fields.label);
    await this.post.put({ ...fields, id: newId(), account: me.name, order: 0, at: new Date().toISOString(), tries: 0, state: "waiting" }, draft);
  }

  /** Refuses what the server would, before it is stored. @param {string} text @param {string} label */
  #check(text, label) {
    const limits = this.state.server?.limits ?? {};
    const size = new TextEncoder().encode(JSON.stringify({ text, label })).length + 200;
    const isLong = [...text.normalize("NFC")].length > (limits.text ?? 4096) || text.split("\n").length > (limits.lines ?? 100);
    if (!text.trim()) throw refusal("empty", "There is nothing to send.");
    if (isLong || size > (limits.line_bytes ?? 8192)) {
      throw refusal("too-long", `This is too long. A message has up to ${limits.text ?? 4096} characters and ${limits.lines ?? 100} lines.`);
    }
  }

  /** @param {string} id */
  async discard(id) {
    await this.post.discard(id);
  }

  /** @param {string} id @param {string} text */
  async resend(id, text) {
    const item = this.state.outbox.find((one) => one.id === id);
    if (!item) return;
    this.#check(text, item.label);
    await this.post.resend(id, { id: text === item.text ? id : newId(), text });
  }

  /** @param {Room} room @param {number} seq */
  seen(room, seq) {
    if (seq <= room.read || seq <= (this.marks.get(room.id) ?? 0)) return;
    this.marks.set(room.id, seq);
    this.model.mark(room.id, seq);
    this.marking ||= setTimeout(() => this.#mark(), READ_INTERVAL);
    this.changed();
  }

  /** Sends the read marks that wait. */
  #mark() {
    clearTimeout(this.marking);
    this.marking = 0;
    if (this.state.phase !== "online") return;
    for (const [id, seq] of this.marks) {
      const room = this.room(id);
      const done = () => this.marks.get(id) === seq && this.marks.delete(id);
      if (!room) done();
      else this.line.send({ cmd: "read", room: room.label, seq }).then(done, (why) => why.error !== "offline" && done());
    }
  }

  /** @param {Room} room */
  typing(room) {
    if (this.state.phase !== "online" || Date.now() - this.typed < TYPING_INTERVAL) return;
    this.typed = Date.now();
    this.line.send({ cmd: "typing", room: room.label }).catch(() => {});
  }

  /** @param {string} label */
  draft(label) {
    return this.drafts.get(this.#draftKey(label)) ?? "";
  }

  /** @param {string} label @param {string} text */
  keepDraft(label, text) {
    this.#draft(this.#draftKey(label), text);
  }

  /** The drafts of this account, by label. @returns {[string, string][]} */
  drafted() {
    const mine = this.#draftKey("");
    return [...this.drafts].filter(([key, text]) => key.startsWith(mine) && text.trim()).map(([key, text]) => [key.slice(mine.length), text]);
  }

  /** @param {string} key @param {string} text */
  #draft(key, text) {
    if (text) this.drafts.set(key, text);
    else this.drafts.delete(key);
    if (!key.startsWith("~")) this.store.keepDraft(key, text).catch(() => {}); // nobody comes back as this guest
  }

  /** @param {string} label */
  #draftKey(label) {
    return `${this.state.me?.name} ${label}`;
  }
}

/** An id that no other message has. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(15));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}
