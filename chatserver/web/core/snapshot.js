// The state of the page as what a device keeps of it, and back. Pure.

import { Badge } from "./badges.js";
import { Runs } from "./runs.js";

/** @typedef {import("./state.js").Model} Model */
/** @typedef {import("./types.js").Room} Room */
/** @typedef {import("./types.js").Entry} Entry */

/** Maximum number of rooms whose entries are kept, and of entries of each. */
const ROOMS = 50;
const ENTRIES = 200;
const FIELDS = /** @type {const} */ (["id", "label", "role", "head", "read", "messages", "mentions", "first", "last", "topic", "members", "with", "notify"]);

/**
 * What is kept: the page, and the entries of the rooms that changed since `heads` was filled. @param {Model} model
 * @param {Map<number, Entry|undefined>} marks by room, the last entry that was kept; changed here
 * @returns {{page: any, rooms: Map<number, any>, keep: Set<number>}}
 */
export function taken(model, marks) {
  const { state, epoch } = model;
  const all = [...state.rooms.values()].sort((one, other) => ((one.last ?? "") < (other.last ?? "") ? 1 : -1));
  const chosen = all.filter((room) => room.runs.list.length).slice(0, ROOMS);
  const page = {
    epoch, me: state.me, prefer: state.prefer, server: state.server, current: state.current, ignored: [...state.ignored],
    rooms: all.map((room) => Object.fromEntries(FIELDS.map((field) => [field, room[field]]))),
  };
  const rooms = new Map();
  for (const { id, runs } of chosen) {
    const run = runs.list[runs.list.length - 1];
    const last = run.entries[run.entries.length - 1];
    if (marks.has(id) && marks.get(id) === last) continue;
    marks.set(id, last);
    const entries = run.entries.slice(-ENTRIES);
    const isAll = entries.length === run.entries.length;
    rooms.set(id, { live: runs.live, from: isAll ? run.from : entries[0].seq, to: run.to, top: run.top && isAll, entries });
  }
  return { page, rooms, keep: new Set(chosen.map((room) => room.id)) };
}

/** Fills an empty model. @param {Model} model @param {{page: any, rooms: Map<number, any>}} kept */
export function restore(model, { page, rooms }) {
  const { state } = model;
  Object.assign(state, { me: page.me, prefer: page.prefer, server: page.server, ignored: new Set(page.ignored) });
  model.epoch = page.epoch;
  for (const fields of page.rooms) {
    const runs = new Runs(model.isMe);
    const run = rooms.get(fields.id);
    if (run) {
      const { live, ...rest } = run;
      runs.list.push(rest);
      runs.used.push(rest);
      runs.live = live;
    }
    runs.head = fields.head;
    state.rooms.set(fields.id, /** @type {Room} */ ({ ...fields, typing: new Map(), runs }));
    const counts = { seq: fields.head, read: fields.read, messages: fields.messages, mentions: fields.mentions, first: fields.first };
    model.badges.set(fields.id, new Badge(counts, page.me.name));
    if (fields.with) state.people.set(fields.with.name, { ...fields.with, online: false });
  }
  state.current = state.rooms.has(page.current) ? page.current : 0;
}
