// Frames of the server become the state of the page. Pure: no DOM, no socket, no clock but what is passed.

import { Badge } from "./badges.js";
import { Runs } from "./runs.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Room} Room */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {Record<string, any>} Frame */

/** How long a typing notice is shown, in milliseconds. */
const TYPING = 6000;
/** Maximum number of rooms in `resume`: until a login is through, the server reads 8 KiB. */
const MOST_RESUMED = 50;
const GONE = new Set(["left", "kicked", "banned"]);

export class Model {
  constructor() {
    /** @type {State} */
    this.state = /** @type {any} */ ({ phase: "starting", server: null });
    /** @type {Map<number, Badge>} */
    this.badges = new Map();
    /** @type {Frame[]|null} what came since `unread` was asked; null: it is not being asked */
    this.since = null;
    this.epoch = "";
    /** Whether the numbers of the rooms have to be asked for. */
    this.stale = false;
    this.forget();
    this.isMe = (/** @type {string|undefined} */ name) => name !== undefined && name === this.state.me?.name;
  }

  /** Forgets the account and all that belongs to it. */
  forget() {
    Object.assign(this.state, {
      me: null, prefer: {}, rooms: new Map(), invitations: [], people: new Map(), ignored: new Set(), outbox: [], foreign: 0, current: 0,
    });
    this.badges = new Map();
    this.since = null;
    this.epoch = "";
    this.stale = false;
  }

  /** The answer to a login. @param {Frame} answer @param {{guest?: boolean}} [more] */
  greet(answer, more = {}) {
    const { state } = this;
    const guest = more.guest ?? answer.name.startsWith("~");
    state.me = { name: answer.name, guest, ...(answer.display ? { display: answer.display } : {}) };
    state.prefer = answer.prefer ?? {};
    state.server = answer.server ?? state.server;
    state.invitations = answer.invitations ?? [];
    state.phase = "online";
    delete state.retryAt;
    this.#setBack(answer.common);
    this.epoch = answer.epoch ?? "";
    this.since = null;
    for (const person of state.people.values()) person.online = false;
    const present = new Set(answer.rooms.map((/** @type {Frame} */ one) => one.room_id));
    if (!answer.more) for (const id of [...state.rooms.keys()]) if (!present.has(id)) this.drop(id);
    for (const one of answer.rooms) this.#room(one, true);
    this.stale = Boolean(answer.more);
  }

  /** To be sent with the next login: positions, and the epoch that they are of. @returns {Frame} */
  positions() {
    if (!this.epoch) return {};
    const rank = (/** @type {Room} */ room) => (room.id === this.state.current ? "~" : room.last ?? "");
    const rooms = [...this.state.rooms.values()].filter((room) => room.runs.list.length);
    rooms.sort((one, other) => (rank(one) < rank(other) ? 1 : -1));
    /** @type {Frame} */
    const resume = {};
    for (const room of rooms.slice(0, MOST_RESUMED)) {
      const seq = Math.min(room.runs.live, room.runs.list[room.runs.list.length - 1].to);
      resume[room.label] = { seq, most: room.id === this.state.current ? 200 : 0 };
    }
    for (const room of rooms.slice(MOST_RESUMED)) room.runs.list = []; // an epoch's end would say nothing of these
    return { resume, epoch: this.epoch };
  }

  /** An answer to `unread`, all its pages together. @param {Frame[]} rooms */
  counted(rooms) {
    /** @type {Frame[]} */
    const since = this.since ?? [];
    this.since = null;
    for (const one of rooms) this.#room(one, false);
    for (const event of since) this.#count(event);
    this.#show();
  }

  /** Begins to remember what comes while `unread` is asked. */
  asking() {
    this.since = [];
    this.stale = false;
    for (const badge of this.badges.values()) badge.stale = false;
  }

  /** An event. @param {Frame} event @param {number} now */
  event(event, now) {
    const { state } = this;
    const id = event.room_id;
    if (event.at !== undefined && id !== undefined) this.#entry(/** @type {Entry} */ (event));
    else if (event.event === "read") this.mark(id, event.seq, event.back);
    else if (event.event === "presence") this.#person(event);
    else if (event.event === "typing") state.rooms.get(id)?.typing.set(event.name, now + TYPING);
    else if (event.event === "invited") {
      const others = state.invitations.filter((one) => one.room_id !== id);
      state.invitations = [...others, { room: event.room, room_id: id, by: event.by }];
    } else if (event.event === "prefer") {
      this.notify(id, event.notify);
    } else if (event.event === "skipped") {
      state.rooms.get(id)?.runs.skipped(event.first);
    } else if (event.event === "gap") {
      state.rooms.get(id)?.runs.removed(event.from, event.first);
      this.stale = true;
    } else if (event.event === "notice") state.notice = event.text;
    else if (event.event === "epoch") this.epoch = event.epoch;
    else if (event.event === "closing" && event.common) {
      this.#setBack(event.common);
      this.epoch = event.epoch ?? "";
    }
  }

  /** The read mark is here, or further on unless it was moved back. @param {number} id @param {number} seq @param {boolean} [back] */
  mark(id, seq, back) {
    const event = { event: "read", room_id: id, seq, back };
    const room = this.state.rooms.get(id);
    if (room && back) room.backs = (room.backs ?? 0) + 1;
    this.since?.push(event);
    this.#count(event);
    this.#show(id);
  }

  /** @param {number} id @param {any} notify */
  notify(id, notify) {
    const room = this.state.rooms.get(id);
    if (room && notify) room.notify = notify;
    else if (room) delete room.notify;
  }

  /** @param {string} label @returns {Room|undefined} */
  called(label) {
    const wanted = label.toLowerCase();
    for (const room of this.state.rooms.values()) if (room.label.toLowerCase() === wanted) return room;
    return undefined;
  }

  /** @param {number} id */
  drop(id) {
    this.state.rooms.delete(id);
    this.badges.delete(id);
    if (this.state.current === id) this.state.current = 0;
  }

  /** Forgets typing notices that are too old. @param {number} now @returns {number} when to call again; 0: never */
  fade(now) {
    let next = 0;
    for (const room of this.state.rooms.values()) {
      for (const [name, until] of room.typing) {
        if (until <= now) room.typing.delete(name);
        else next = Math.min(next || until, until);
      }
    }
    return next;
  }

  /** A room of an answer. @param {Frame} one @param {boolean} isLogin whether entries before its `seq` may still come */
  #room(one, isLogin) {
    const { state } = this;
    let room = state.rooms.get(one.room_id);
    if (!room) {
      room = /** @type {Room} */ ({
        id: one.room_id, label: one.room, head: 0, read: 0, messages: 0, mentions: 0, typing: new Map(), runs: new Runs(this.isMe),
      });
      state.rooms.set(room.id, room);
    }
    if (!room.runs.list.length) room.runs.live = isLogin ? one.seq : Math.max(room.runs.live, one.seq);
    room.label = one.room;
    room.head = Math.max(one.seq, isLogin ? 0 : room.head);
    room.runs.head = Math.max(room.head, isLogin ? 0 : room.runs.head);
    for (const field of /** @type {const} */ (["role", "notify", "last", "topic", "members", "with"])) {
      if (one[field] !== undefined) /** @type {any} */ (room)[field] = one[field];
      else if (field !== "with" && (field !== "members" || "unread" in one)) delete room[field];
    }
    if (room.with) this.#person({ ...room.with, event: "presence" });
    const badge = this.badges.get(room.id);
    if (badge) badge.count(/** @type {any} */ (one));
    else this.badges.set(room.id, new Badge(/** @type {any} */ (one), state.me?.name ?? ""));
    if (one.messages === undefined) this.stale = true;
    this.#show(room.id);
  }

  /** @param {Entry} entry */
  #entry(entry) {
    const { state } = this;
    const id = entry.room_id;
    const room = state.rooms.get(id) ?? this.#found(entry);
    if (!room) return;
    this.since?.push(entry);
    room.head = Math.max(room.head, entry.seq);
    room.runs.append(entry);
    const badge = this.badges.get(id);
    if (badge) badge.learn(entry);
    this.#effects(room, entry);
    if (!state.rooms.has(id)) return;
    this.#count(entry);
    this.#show(id);
  }

  /** What an entry changes of a room, besides its log. @param {Room} room @param {Entry} entry */
  #effects(room, entry) {
    const { state } = this;
    const { event, name = "", to = "" } = entry;
    if (event === "message") {
      if (!room.last || room.last < entry.at) room.last = entry.at;
      if (entry.from) room.typing.delete(entry.from);
      if (entry.from) this.#heard(entry.from, entry.display, entry.bot);
    } else if (event === "joined") {
      if (room.members !== undefined) room.members += 1;
      this.#heard(name, entry.display, entry.bot);
    } else if (GONE.has(event)) {
      if (this.isMe(name)) {
        const how = { kicked: "removed", banned: "banned" }[event];
        if (how) state.notice = `${entry.by ?? "The server"} ${how} you from #${room.label}${entry.reason ? `: ${entry.reason}` : "."}`;
        return this.drop(room.id);
      }
      if (room.members !== undefined && event !== "banned") room.members -= 1;
      else this.stale = true;
    } else if (event === "deleted") {
      if (!this.isMe(entry.by)) state.notice = `${entry.by ?? "The server"} deleted #${room.label}.`;
      return this.drop(room.id);
    } else if (event === "topic") {
      if (entry.text) room.topic = entry.text;
      else delete room.topic;
    } else if (event === "role" && this.isMe(name)) {
      room.role = entry.role;
    } else if (event === "renamed") {
      this.#renamed(room, name, to, entry.display);
    }
  }

  /** @param {Room} room @param {string} name @param {string} to @param {string} [display] */
  #renamed(room, name, to, display) {
    const { state } = this;
    if (this.isMe(name) && state.me) {
      state.me = { name: to, guest: state.me.guest, ...(display ? { display } : {}) };
    }
    if (state.ignored.has(name)) state.ignored.add(to);
    if (room.label === "@" + name) room.label = "@" + to;
    const person = state.people.get(name) ?? { name, online: false };
    const next = { ...person, name: to };
    if (display) next.display = display;
    else delete next.display;
    if (to !== name) state.people.delete(name);
    state.people.set(to, next);
    for (const one of state.rooms.values()) if (one.with && (one.with.name === name || one.with.name === to)) one.with = next;
  }

  /** An entry of a room that is not known yet. @param {Entry} entry @returns {Room|undefined} */
  #found(entry) {
    const label = /** @type {any} */ (entry).room;
    const isMine = ["joined", "created"].includes(entry.event) ? this.isMe(entry.name ?? entry.by) : label.startsWith("@");
    if (!isMine && (GONE.has(entry.event) || entry.event === "deleted")) return undefined;
    this.stale = true;
    const room = /** @type {Room} */ ({
      id: entry.room_id, label, head: 0, read: 0, messages: 0, mentions: 0, typing: new Map(), runs: new Runs(this.isMe),
      ...(label.startsWith("@") ? { with: this.state.people.get(label.slice(1)) ?? { name: label.slice(1), online: false } } : {}),
    });
    this.state.rooms.set(room.id, room);
    this.state.invitations = this.state.invitations.filter((one) => one.room_id !== room.id);
    return room;
  }

  /** @param {Frame} event */
  #count(event) {
    const badge = this.badges.get(event.room_id);
    if (!badge) {
      if (this.state.rooms.has(event.room_id)) this.stale = true;
      return;
    }
    if (event.event === "read") badge.mark(event.seq, event.back);
    else badge.entry(/** @type {Entry} */ (event), this.state.ignored);
    if (badge.stale) this.stale = true;
  }

  /** Shows the numbers of a room, or of all. @param {number} [id] */
  #show(id) {
    for (const room of id === undefined ? this.state.rooms.values() : [this.state.rooms.get(id)]) {
      const badge = room && this.badges.get(room.id);
      if (!room || !badge) continue;
      const { first, ...counts } = badge.now();
      Object.assign(room, counts);
      if (first === undefined) delete room.first;
      else room.first = first;
    }
  }

  /** @param {string} name @param {string} [display] @param {boolean} [bot] */
  #heard(name, display, bot) {
    const person = this.state.people.get(name);
    if (person && person.display === display && Boolean(person.bot) === Boolean(bot)) return;
    const { display: former, ...rest } = person ?? { name, online: false };
    void former;
    this.state.people.set(name, { ...rest, name, ...(display ? { display } : {}), ...(bot ? { bot } : {}) });
  }

  /** @param {Frame} event */
  #person(event) {
    const { name, display, online, away, bot } = event;
    const known = this.state.people.get(name);
    const person = { name, online: Boolean(online), ...(display ? { display } : {}), ...(away ? { away } : {}),
      ...(bot || known?.bot ? { bot: true } : {}) };
    this.state.people.set(name, person);
    for (const room of this.state.rooms.values()) if (room.with?.name === name) room.with = person;
  }

  /** Everybody who is online. @param {Frame[]} users */
  present(users) {
    for (const one of users) this.#person(one);
  }

  /** Drops what an earlier state of the database lacks. @param {Record<string, number>} [common] by label */
  #setBack(common) {
    for (const [label, seq] of Object.entries(common ?? {})) {
      const room = this.called(label);
      if (!room) continue;
      room.runs.cut(seq);
      room.head = Math.min(room.head, seq);
      this.badges.delete(room.id);
    }
  }
}
