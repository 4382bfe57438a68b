// What is to be sent: items by room, in order, one in flight in each room. Pure: says what to do, and does nothing itself.

/** @typedef {import("./types.js").Item} Item */
/** @typedef {import("./types.js").Refusal} Refusal */

/** Maximum number of connections in a row that may end while an item is under way: servers are killed, too. */
const MOST_TRIES = 6;
/** How long a room waits if the server does not say, in milliseconds. */
const PAUSE = 1000;
/** Reasons of `closing` that have nothing to do with what was sent. */
const HARMLESS = new Set(["shutdown", "moving", "rewound", "fenced", "kicked", "too-many-connections"]);
/** Refusals that are about the connection and not about the item. */
const LATER = new Set(["timeout", "login-required", "shutdown", "unavailable"]);

export class Outbox {
  /** @param {(item: Item) => string} [queue] the queue that an item is in: its room, whatever it is called */
  constructor(queue = (item) => String(item.room || item.label)) {
    this.queue = queue;
    /** @type {Item[]} in order */
    this.items = [];
    /** @type {Map<string, number>} by queue, until when it waits, in milliseconds */
    this.pauses = new Map();
  }

  /** @param {Item} item */
  add(item) {
    if (this.get(item.id)) return;
    this.items.push(item);
    this.items.sort((one, other) => one.order - other.order);
  }

  /** @param {string} id @returns {Item|undefined} */
  get(id) {
    return this.items.find((item) => item.id === id);
  }

  /** Takes an item out: the server has stored it, or the person discards it. @param {string} id */
  remove(id) {
    this.items = this.items.filter((item) => item.id !== id);
  }

  /** What can be sent now; it counts as sent from here on. @param {number} now @returns {Item[]} */
  next(now) {
    const busy = new Set(this.items.filter((item) => item.state === "sent").map(this.queue));
    /** @type {Item[]} */
    const found = [];
    for (const item of this.items) {
      const queue = this.queue(item);
      if (item.state !== "waiting" || busy.has(queue)) continue;
      busy.add(queue);
      if ((this.pauses.get(queue) ?? 0) <= now) found.push(item);
    }
    // One of these may be what ends the connections: to find it, each is sent alone.
    const suspect = this.items.find((item) => item.state !== "refused" && item.tries === MOST_TRIES - 1);
    const alone = suspect && (suspect.state === "sent" ? [] : found.filter((item) => item.tries === MOST_TRIES - 1).slice(0, 1));
    const chosen = alone && (alone.length || suspect?.state === "sent") ? alone : found;
    if (alone && alone.length && this.items.some((item) => item.state === "sent")) return [];
    for (const item of chosen) item.state = "sent";
    return chosen;
  }

  /** When `next` has to be asked again, because a pause ends; 0: no pause. @param {number} now @returns {number} */
  wakeAt(now) {
    let next = 0;
    for (const item of this.items) {
      const until = item.state === "waiting" ? this.pauses.get(this.queue(item)) ?? 0 : 0;
      if (until > now) next = Math.min(next || until, until);
    }
    return next;
  }

  /**
   * The server refused an item. @param {string} id @param {Refusal} why @param {number} now
   * @returns {"again"|"refused"} "refused": it is set aside, for the person to see
   */
  refused(id, why, now) {
    const item = this.get(id);
    if (!item || why.error === "offline") return "again"; // `ended` has seen to that
    if (why.retry !== undefined || LATER.has(why.error)) {
      item.state = "waiting";
      item.why = why.text.replace(/\. .*/, "."); // the rest says what the person has to do: nothing, here
      const pause = typeof why.retry === "number" ? Math.max(why.retry * 1000, 100) : PAUSE;
      this.pauses.set(this.queue(item), now + pause);
      return "again";
    }
    item.state = "refused";
    item.why = why.text;
    item.tries = 0;
    return "refused";
  }

  /**
   * The connection ended. What was under way is sent again on the next one, unless it seems to be what ends them.
   * @param {string} [reason] of `closing` @returns {Item[]} the items that changed
   */
  ended(reason) {
    const under = this.items.filter((item) => item.state === "sent");
    for (const item of under) {
      item.state = "waiting";
      if (reason === undefined || !HARMLESS.has(reason)) item.tries += 1;
      if (item.tries < MOST_TRIES) continue;
      item.state = "refused";
      item.why = "The connection broke six times while this was being sent.";
      item.tries = 0;
    }
    return under;
  }

  /** A refused item is to be sent after all, with this text and id. @param {string} id @param {{id: string, text: string}} fields */
  resend(id, fields) {
    const item = this.get(id);
    if (item) Object.assign(item, fields, { state: "waiting", tries: 0, why: undefined });
    return item;
  }
}

/** The command that sends an item. @param {Item} item @param {string} label what the room is called now */
export function command(item, label) {
  const { id, text } = item;
  if (item.kind === "edit") return { cmd: "edit", room: label, seq: item.of, text };
  if (item.re) return { cmd: "reply", room: label, seq: item.re, text, id };
  return { cmd: "say", room: label, text, id };
}
