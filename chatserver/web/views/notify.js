// Notifications on the desktop: asked for only on a click, and only for what is not in view.

import {plain} from "../core/text.js";
import {go, heading, toast} from "./base.js";

/** "default", "granted", "denied", or "none" where browsers have no notifications. */
export const permission = () => ("Notification" in window ? Notification.permission : "none");

/** Asks the person. Call it on a click only. */
export async function allow() {
  const answer = permission() === "default" ? await Notification.requestPermission() : permission();
  toast(answer === "granted" ? "Notifications are on." : "The browser does not allow notifications. Change that in its settings for this page.");
  return answer;
}

/** Watches the numbers of the rooms, and notifies of what has come. */
export function watch(client) {
  /** @type {Map<number, {head: number, messages: number, mentions: number}>} */
  let before = new Map();
  let online = false;
  client.subscribe(() => {
    const {state} = client;
    const now = new Map();
    for (const room of state.rooms.values()) {
      now.set(room.id, {head: room.head, messages: room.messages, mentions: room.mentions});
      const old = before.get(room.id);
      if (online && old && isWanted(room, old) && permission() === "granted" && !isSeen(client, room)) show(room, client);
    }
    before = now;
    online = state.phase === "online";
  });
}

function isWanted(room, old) {
  if (room.notify === "nothing" || room.head === old.head) return false; // a mark that was moved back is no news
  const all = room.notify === "all" || room.label.startsWith("@");
  return all ? room.messages > old.messages : room.mentions > old.mentions;
}

const isSeen = (client, room) => document.visibilityState === "visible" && document.hasFocus() && client.state.current === room.id;

function show(room, client) {
  const last = room.runs.newest()?.entries.findLast(entry => entry.event === "message" && entry.from !== client.state.me?.name);
  if (last && client.state.ignored.has(last.from)) return;
  const where = heading(room.label);
  const note = new Notification(last ? `${last.display || last.from} · ${where}` : where, {
    body: (last ? plain(last.text ?? "") : `${room.messages} new`).slice(0, 300), tag: `room-${room.id}`, silent: false,
  });
  note.onclick = () => {
    window.focus();
    go(room.label, last?.seq);
    note.close();
  };
}
