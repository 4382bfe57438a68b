// The list of messages of a room. DOM by hand: a window of rows over a run of entries, of which one keeps its place.
//
//   .log-frame > .log-stick (day and author of the row at the top), .log[role=log] > .log-edge, .rows, ; button.log-jump;
//   .hidden[aria-live] (what is said to ears)

import { whole } from "./base.js";
import { event, happened, make, message, pending } from "./message.js";
import { Rows } from "./rowset.js";

/** @typedef {import("../core/types.js").Entry} Entry */
/** @typedef {import("../core/types.js").Room} Room */
/** @typedef {import("../core/types.js").Run} Run */

/** Maximum number of entries that have rows, and how many come and go at once. With separators, there are up to 400 rows. */
const WINDOW = 300;
const STEP = 100;
/** Number of entries before the end that surely come with the newest page. */
const NEAR = 50;
/** How long one author's messages stay one group, in milliseconds. */
const GROUP = 5 * 60_000;

export class Log {
  /** @param {HTMLElement} element @param {any} client @param {any} actions */
  constructor(element, client, actions) {
    this.client = client;
    this.actions = actions;
    this.edge = make("div.log-edge", { role: "status" });
    this.list = make("div.rows");
    this.scroller = make("div.log", { role: "log", "aria-live": "off", "aria-label": "Messages" }, this.edge, this.list);
    this.stick = make("div.log-stick", { "aria-hidden": "true" });
    this.jump = make("button.log-jump", { type: "button", hidden: true, onclick: () => this.toEnd() });
    this.voice = make("div.hidden", { "aria-live": "polite" });
    this.frame = make("div.log-frame", {}, this.stick, this.scroller, this.jump, this.voice);
    element.replaceChildren(this.frame);
    this.rows = new Rows(this.scroller, this.list);
    /** @type {Room|null} */
    this.room = null;
    /** Where the window is: entries from `low` to `high`, of the run that has `seq`. While `isFollowing`, up to the newest. */
    this.seq = this.low = 0;
    this.high = Infinity;
    this.isFollowing = true;
    this.isAtEnd = true;
    this.target = this.newFrom = this.told = 0;
    /** @type {number|undefined} */
    this.backs = undefined;
    /** Whether the read mark was moved back since one came: then what is on the screen stays unread until one comes again. */
    this.isHeld = false;
    /** The message to be shown once there is a connection; 0: none. */
    this.wanted = 0;
    this.pending = 0;
    this.isDead = false;
    /** @type {Set<string>} what is being fetched */
    this.fetching = new Set();
    this.onFocus = () => this.#seen();
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.scroller.addEventListener("keydown", (key) => this.#key(key));
    globalThis.addEventListener("focus", this.onFocus);
    /** How far one could scroll when that was last looked at. */
    this.most = 0;
    this.resized = new ResizeObserver(() => {
      this.rows.restore(this.isAtEnd && this.isFollowing);
      this.#reach();
    });
    this.resized.observe(this.scroller);
  }

  /** Shows a room: at a message, or else at what is new, or at the end. @param {Room} room @param {{at?: number}} [place] */
  show(room, { at } = {}) {
    if (this.room !== room) {
      this.rows.clear();
      this.newFrom = room.messages ? room.first ?? room.read + 1 : 0;
      this.told = room.head;
    }
    this.room = room;
    this.backs = room.backs;
    this.isHeld = false;
    this.target = at ?? 0;
    this.wanted = 0;
    const place = at ?? (room.messages ? room.first ?? 0 : 0);
    if (place && !room.runs.at(place) && this.client.state.phase !== "online") {
      this.toEnd();
      this.wanted = place;
    } else if (place && !room.runs.at(place)) {
      this.#render();
      this.#fetch(room.head - place < NEAR ? { newest: true } : { around: place }).then((run) => (run && !this.isDead ? this.#goTo(run, place) : this.toEnd()));
    } else if (place) this.#goTo(/** @type {Run} */ (room.runs.at(place)), place);
    else this.toEnd();
  }

  /** Something has changed; shown with the next frame. */
  update() {
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      if (this.isDead) return;
      if (this.wanted && this.room && this.client.state.phase === "online") this.show(this.room, this.target ? { at: this.target } : {});
      else this.#render();
    });
  }

  destroy() {
    this.isDead = true;
    cancelAnimationFrame(this.pending);
    globalThis.removeEventListener("focus", this.onFocus);
    this.resized.disconnect();
    this.frame.remove();
  }

  /** To now. */
  toEnd() {
    const { room } = this;
    if (!room || this.isDead) return;
    this.isFollowing = this.isAtEnd = true;
    this.high = Infinity;
    const run = room.runs.newest();
    this.low = run ? this.#back(run, Infinity, STEP) : 0;
    this.#render();
    if (!run) this.#fetch({ newest: true }).then(() => this.isFollowing && this.toEndOnce());
  }

  /** After a page has come: the end, if there is one; no further attempts. */
  toEndOnce() {
    const run = this.room?.runs.newest();
    if (run && !this.isDead) this.toEnd();
  }

  /** @param {Run} run @param {number} seq */
  #goTo(run, seq) {
    const { room } = this;
    if (!room) return;
    this.seq = seq;
    this.isFollowing = this.isAtEnd = false;
    this.low = this.#back(run, seq, STEP);
    this.high = this.#forth(run, seq, STEP);
    this.#render();
    const row = this.rows.at(seq);
    if (row) {
      const space = this.scroller.clientHeight;
      this.scroller.scrollTop += row.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top - space * (this.target ? 0.4 : 0.2);
    }
    if (this.target && row) {
      for (const one of this.list.querySelectorAll(".is-target")) one.classList.remove("is-target");
      row.classList.add("is-target");
      this.rows.focus(row);
    }
    this.#scrolled();
  }

  /** Notices that the read mark was moved back, here or elsewhere. */
  #marked() {
    const { room } = this;
    if (!room || room.backs === this.backs) return;
    this.backs = room.backs;
    this.isHeld = true;
    this.newFrom = room.read + 1;
  }

  /** The number of the entry so many rows before. @param {Run} run @param {number} seq @param {number} count */
  #back(run, seq, count) {
    const all = this.#shown(run).filter((entry) => entry.seq < seq);
    return all.length <= count ? run.from : all[all.length - count].seq;
  }

  /** @param {Run} run @param {number} seq @param {number} count */
  #forth(run, seq, count) {
    const all = this.#shown(run).filter((entry) => entry.seq > seq);
    return all.length <= count ? run.to : all[count - 1].seq;
  }

  /** The entries that have rows. @param {Run} run */
  #shown(run) {
    const { ignored } = this.client.state;
    return run.entries.filter((entry) => entry.event === "message" ? !ignored.has(entry.from ?? "") : happened(entry) !== null);
  }

  /** @returns {Run|null} */
  #run() {
    const { room } = this;
    if (!room) return null;
    if (!this.isFollowing) return room.runs.at(this.seq);
    return room.runs.newest() ?? room.runs.list[room.runs.list.length - 1] ?? null;
  }

  #render() {
    const { room, rows } = this;
    if (!room) return;
    this.#marked();
    if (!this.isFollowing && !room.runs.at(this.seq)) {
      this.seq = rows.anchor?.seq ?? this.seq;
      if (!room.runs.at(this.seq)) return this.#again();
    }
    const run = this.#run();
    const isStuck = this.isFollowing && this.isAtEnd;
    const all = run ? this.#shown(run) : [];
    if (!isStuck) this.#limit(all, false);
    let list = all.filter((entry) => entry.seq >= this.low && (this.isFollowing || entry.seq <= this.high));
    if (list.length > WINDOW) {
      list = list.slice(STEP - WINDOW);
      this.low = list[0].seq;
    }
    const isWhole = Boolean(run && run.top && this.low <= (all[0]?.seq ?? 0));
    this.edge.textContent = !run ? this.client.state.phase === "online" ? "Loading…" : "This is not on this device."
      : isWhole ? `This is the beginning of ${room.label.startsWith("@") ? "your conversation with " : "#"}${room.label.replace("@", "")}.`
        : run.top ? "" : "Loading earlier messages…";
    const items = this.isFollowing ? this.client.state.outbox.filter((/** @type {any} */ item) => this.#isHere(item)) : [];
    rows.put(this.#descriptions(list, items), isStuck);
    this.#tell(list, isStuck);
    this.#scrolled();
  }

  /** What is in view has left memory, since much has come: it stays as it is until it has been read again. */
  #again() {
    const { seq } = this;
    this.#fetch({ around: seq }).then((run) => {
      if (!run || this.isDead || this.isFollowing) return;
      if (run.from <= seq && seq <= run.to) this.update();
      else this.toEnd();
    });
  }

  /** @param {{room: number, label: string}} item */
  #isHere(item) {
    return item.room ? item.room === this.room?.id : item.label.toLowerCase() === this.room?.label.toLowerCase();
  }

  /**
   * The rows: what each is made from, and when it has to be made again. @param {Entry[]} list @param {any[]} items
   * @returns {import("./rowset.js").Row[]}
   */
  #descriptions(list, items) {
    const { actions, client, newFrom } = this;
    const me = client.state.me?.name ?? "";
    const room = this.room?.label ?? "";
    const how = `${me}${room}${client.state.prefer.clock}`;
    /** @type {import("./rowset.js").Row[]} */
    const found = [];
    let isNew = false;
    /** @type {Entry|null} */
    let before = null;
    for (const entry of list) {
      const day = new Date(entry.at).toDateString();
      const isOtherDay = !before || new Date(before.at).toDateString() !== day;
      if (isOtherDay) {
        const text = whole(entry.at).replace(/, [^,]*$/, "");
        found.push({ key: `day ${day}`, sig: "", make: () => make("div.row.day", { role: "separator", "aria-label": text }, make("span", {}, text)) });
      }
      const isBorder = !isNew && newFrom > 0 && entry.seq >= newFrom && entry.from !== me;
      if (isBorder) {
        isNew = true;
        found.push({ key: "new", sig: "", make: () => make("div.row.new", { role: "separator", "aria-label": "New messages" }, make("span", {}, "New")) });
      }
      const isFirst = isOtherDay || isBorder || !before || before.event !== "message" || before.from !== entry.from
        || Date.parse(entry.at) - Date.parse(before.at) > GROUP || before.display !== entry.display || Boolean(entry.re);
      const isMessage = entry.event === "message";
      found.push({
        key: `m ${entry.seq}`, seq: entry.seq, entry, sig: `${isFirst}${how}`,
        make: () => (isMessage ? message(entry, { isFirst, me, room }, actions) : event(entry, actions)),
      });
      before = entry;
    }
    for (const item of items) {
      const status = this.#status(item);
      found.push({ key: `o ${item.id}`, sig: `${item.text}${status}`, make: () => pending(item, status, client, me) });
    }
    return found;
  }

  /** What the person is told about an item, honestly. @param {any} item */
  #status(item) {
    if (item.state === "refused") return `Not sent: ${item.why ?? "the server refused it."}`;
    if (this.client.state.phase !== "online") return "Will be sent when you are connected again";
    if (item.state === "sent") return "Sending…";
    return item.why ? `Will be sent soon. ${item.why}` : "Waiting to be sent";
  }

  /** Says to ears what is new at the end; counts it for the eyes. @param {Entry[]} list @param {boolean} isStuck */
  #tell(list, isStuck) {
    const { room, client } = this;
    if (!room) return;
    const me = client.state.me?.name;
    const fresh = list.filter((entry) => entry.seq > this.told && entry.event === "message" && entry.from !== me && !entry.erased);
    if (isStuck && fresh.length) {
      this.voice.replaceChildren(...fresh.slice(-3).map((entry) => make("p", {}, `${entry.display || entry.from}: ${entry.text ?? ""}`)));
    }
    if (isStuck) this.told = Math.max(this.told, room.head);
    const isNear = isStuck || (this.isFollowing && this.isAtEnd);
    this.jump.hidden = isNear;
    if (!isNear) {
      const run = room.runs.newest();
      const count = run ? run.entries.filter((entry) => entry.seq > this.told && entry.event === "message" && entry.from !== me).length : 0;
      this.jump.textContent = count ? `${count} new ${count === 1 ? "message" : "messages"} ↓` : "Jump to now ↓";
    }
  }

  #scrolled() {
    const { scroller, room } = this;
    const run = this.#run();
    if (!room || !run) return;
    // Only people leave the end, by scrolling. When the box below has grown, the end stays in view.
    if (this.#reach() && this.isFollowing && this.isAtEnd) this.rows.restore(true);
    const rest = this.most - scroller.scrollTop;
    const wasAtEnd = this.isAtEnd;
    this.isAtEnd = rest <= 8;
    if (!this.isFollowing || !this.isAtEnd) this.rows.remember();
    const isLast = run === room.runs.newest();
    const all = this.#shown(run);
    const last = all[all.length - 1]?.seq ?? 0;
    const near = scroller.clientHeight;
    if (scroller.scrollTop < near) this.#up(run, all);
    if (!this.isFollowing && rest < near) {
      if (this.high < last) {
        this.high = this.#forth(run, this.high, STEP);
        this.#limit(all, true);
        this.update();
      } else if (isLast) {
        this.isFollowing = true;
        this.update();
      } else this.#fetch({ after: run.to }).then((more) => more && this.update());
    }
    if (wasAtEnd !== this.isAtEnd) this.update();
    this.#top();
    this.#seen();
  }

  /** Whether one can scroll farther, or less far, than before. */
  #reach() {
    const before = this.most;
    this.most = this.scroller.scrollHeight - this.scroller.clientHeight;
    return this.most !== before;
  }

  /** More rows above. @param {Run} run @param {Entry[]} all */
  #up(run, all) {
    const first = all[0]?.seq ?? run.from;
    if (this.low > first) {
      this.low = this.#back(run, this.low, STEP);
      this.#limit(all, false);
      this.update();
    } else if (!run.top) {
      const from = run.from;
      this.#fetch({ before: from }).then((more) => {
        if (!more) return;
        this.low = Math.min(this.low, this.#back(more, from, STEP));
        this.#limit(this.#shown(more), false);
        this.update();
      });
    }
  }

  /** Keeps the window small. @param {Entry[]} all @param {boolean} front whether rows go at the front */
  #limit(all, front) {
    const list = all.filter((entry) => entry.seq >= this.low && (this.isFollowing || entry.seq <= this.high));
    if (list.length <= WINDOW) return;
    if (front) this.low = list[list.length - WINDOW].seq;
    else {
      this.high = list[WINDOW - 1].seq;
      this.seq = list[0].seq;
      this.isFollowing = false;
    }
  }

  /** @param {object} place @returns {Promise<Run|null>} */
  async #fetch(place) {
    const key = JSON.stringify(place);
    if (this.fetching.has(key) || !this.room || this.client.state.phase !== "online") return null;
    this.fetching.add(key);
    this.scroller.setAttribute("aria-busy", "true");
    try {
      return await this.client.load(this.room, place);
    } catch (/** @type {any} */ why) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      if (why.error === "offline" || why.retry !== undefined) this.update(); // asked again, if it is still needed
      return null;
    } finally {
      this.fetching.delete(key);
      if (!this.fetching.size) this.scroller.removeAttribute("aria-busy");
    }
  }

  /** The day and the author of the row at the top. */
  #top() {
    const row = this.rows.first();
    const entry = row?.entry;
    const isHeaded = Boolean(row?.node.querySelector(".by"));
    const day = entry ? whole(entry.at).replace(/, [^,]*$/, "") : "";
    const name = entry && entry.event === "message" && !isHeaded ? entry.display || entry.from || "" : "";
    const text = this.scroller.scrollTop > 4 ? [day, name].filter(Boolean).join(" · ") : "";
    if (this.stick.textContent !== text) this.stick.textContent = text;
    this.stick.hidden = !text;
  }

  /** What has been on the screen of somebody who looks is read. */
  #seen() {
    const { room } = this;
    if (!room || this.isDead || !document.hasFocus() || document.visibilityState !== "visible") return;
    this.#marked();
    if (this.isHeld) return;
    const seq = this.isFollowing && this.isAtEnd && room.runs.newest() ? room.head : this.rows.last();
    if (seq > room.read) this.client.seen(room, seq);
  }

  /** @param {KeyboardEvent} key */
  #key(key) {
    if (key.altKey || key.ctrlKey || key.metaKey || /^(INPUT|TEXTAREA)$/.test(/** @type {HTMLElement} */ (key.target).tagName)) return;
    const step = { ArrowUp: -1, ArrowDown: 1 }[key.key];
    const row = /** @type {HTMLElement} */ (key.target).closest(".row");
    if (step) this.rows.move(step);
    else if (key.key === "End") this.toEnd();
    else if (key.key === "Home") this.#home();
    else if (key.key === "Enter" && row && row === key.target) {
      const entry = this.rows.entry(row);
      if (entry?.event !== "message") return;
      this.actions.menu?.(entry, row);
    } else return;
    key.preventDefault();
    if (key.key === "End") this.rows.focusLast();
  }

  /** To the first entry that one may read. */
  async #home() {
    const { room } = this;
    const first = room?.runs.list[0];
    const run = first?.top ? first : await this.#fetch({ after: 0 });
    if (!run || room !== this.room) return;
    this.target = 0;
    this.#goTo(run, this.#shown(run)[0]?.seq ?? run.from);
    this.scroller.scrollTop = 0;
    this.rows.focus(this.rows.at(this.#shown(run)[0]?.seq ?? 0));
  }
}
