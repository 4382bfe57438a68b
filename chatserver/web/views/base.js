// What all views share: templates, hooks, the client, icons, names, times, and what the page itself remembers (`ui`).

import {createContext, h} from "../vendor/preact.mjs";
import {useContext, useEffect, useLayoutEffect, useReducer, useRef, useState} from "../vendor/hooks.mjs";
import htm from "../vendor/htm.mjs";

export const html = htm.bind(h);
export {useEffect, useLayoutEffect, useRef, useState};

/** A value that tells its listeners when it changes. */
export class Changing {
  constructor(value) {
    this.value = value;
    this.listeners = new Set();
  }

  set(change) {
    this.value = {...this.value, ...change};
    for (const listener of this.listeners) listener();
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/**
 * What the page shows besides the room: `panel` beside the log, `dialog` above everything, `reply` and `edit` (entries)
 * in the box, `toast` (a sentence).
 */
export const ui = new Changing({panel: null, dialog: null, reply: null, edit: null, toast: null});

/** @type {any} */
export const Context = createContext(null);

/** How long views wait for a frame before they are drawn without one, in milliseconds: hidden pages have none. */
const FRAMELESS = 100;
/** The views to be drawn with the next frame. */
const stale = new Set();

/** Draws a view once a frame, however much comes; behind the log, which marks as read what it shows. */
function soon(redraw) {
  if (!stale.size) queueMicrotask(() => {
    const draw = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      for (const one of stale) one();
      stale.clear();
    };
    const frame = requestAnimationFrame(draw), timer = setTimeout(draw, FRAMELESS);
  });
  stale.add(redraw);
}

/** The client and the page's own state; redraws the view when one of them changes. @returns {{client: any, ui: any}} */
export function useChat() {
  const client = useContext(Context);
  const [, redraw] = useReducer(count => count + 1, 0);
  useLayoutEffect(() => {
    const ends = [client.subscribe(() => soon(redraw)), ui.subscribe(redraw)];
    return () => {
      stale.delete(redraw);
      ends.forEach(end => end());
    };
  }, [client]);
  return {client, ui: ui.value};
}

/**
 * A list that is fetched in pages: `fetch(last)` resolves with `{items, more}`. Gives `{items, more, busy, error, next}`.
 */
export function usePages(fetch, keys) {
  const [state, set] = useState({items: [], more: false, busy: true, error: ""});
  const turn = useRef(0);
  const load = async before => {
    const mine = turn.current;
    set(old => ({...old, busy: true, error: ""}));
    try {
      const page = await fetch(before.at(-1), before.page);
      if (mine === turn.current) set({items: [...before, ...page.items], more: !!page.more, busy: false, error: "", page});
    } catch (refusal) {
      if (mine === turn.current) set(old => ({...old, busy: false, error: says(refusal)}));
    }
  };
  useEffect(() => {
    turn.current++;
    set({items: [], more: false, busy: true, error: ""});
    load([]);
  }, keys);
  return {...state, next: () => load(Object.assign([...state.items], {page: state.page})), again: () => load([])};
}

/** Does something with the server; a refusal is shown at the bottom of the page. */
export async function attempt(promise, done) {
  try {
    const answer = await promise;
    if (done) toast(done);
    return answer;
  } catch (refusal) {
    toast(says(refusal));
    return null;
  }
}

let toasted = 0;

/** Shows a sentence at the bottom for a while. */
export function toast(text) {
  clearTimeout(toasted);
  ui.set({toast: text});
  toasted = setTimeout(() => ui.set({toast: null}), 3000 + 60 * text.length);
}

/** A refusal as a sentence. */
export function says(refusal) {
  if (refusal?.error === "offline") return "You are offline. Try again when you are connected.";
  if (refusal?.error === "timeout") return "The server did not answer. Try again.";
  return refusal?.text || String(refusal?.message || refusal);
}

// --- going somewhere ---

/** Where a room, or a message in it, is on this page. */
export const place = (label, seq) => `#/${label}${seq ? `/${seq}` : ""}`;

export function go(label, seq) {
  const to = place(label, seq);
  if (location.hash === to) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = to;
}

/** What the address says: `{label, seq}`. */
export function route() {
  const [, label = "", seq = ""] = decoded(location.hash).split("/");
  return {label: label.toLowerCase().startsWith("@") ? label : label.toLowerCase(), seq: /^\d+$/.test(seq) ? +seq : 0};
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** What a room is called where it stands alone. */
export const heading = label => (label.startsWith("@") ? label : `#${label}`);

/** The other one of a direct room, as far as is known. @returns {any} */
export const other = (state, label, room) => ({name: label.slice(1), ...room?.with, ...state.people.get(label.slice(1))});

// --- what things look like ---

const PATHS = {
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  search: "M10.5 4a6.5 6.5 0 100 13 6.5 6.5 0 000-13zM15.5 15.5L20 20",
  people: "M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM2.5 20c.5-4 3-6 6.5-6s6 2 6.5 6M16 4.5a3.5 3.5 0 010 6.5M17.5 14.3c2.3.7 3.7 2.6 4 5.7",
  pin: "M9 4h6l-1 6 3 3v2H7v-2l3-3-1-6zM12 15v5",
  at: "M16 8v5.5a2.5 2.5 0 005 0V12a9 9 0 10-3.5 7.1M16 12a4 4 0 11-8 0 4 4 0 018 0z",
  plus: "M12 5v14M5 12h14",
  gear: "M12 15.2a3.2 3.2 0 100-6.4 3.2 3.2 0 000 6.4zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.2 2.2M16.2 16.2l2.2 2.2M18.4 5.6l-2.2 2.2M7.8 16.2l-2.2 2.2",
  inbox: "M4 13l2.5-8h11L20 13v6H4v-6zM4 13h5l1 2.5h4L15 13h5",
  send: "M4 12l16-8-5 16-3-7-8-1zM12 13l8-9",
  reply: "M10 6l-6 6 6 6M4 12h9c4 0 6.5 2 7 6",
  thread: "M5 5h14v10H11l-4 4v-4H5V5zM9 9h6M9 11.8h4",
  edit: "M5 19l1-4L16 5l3 3L9 18l-4 1z",
  erase: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  link: "M10 14a4 4 0 006 0l3-3a4 4 0 00-6-6l-1 1M14 10a4 4 0 00-6 0l-3 3a4 4 0 006 6l1-1",
  smile: "M12 4a8 8 0 100 16 8 8 0 000-16zM9 10h.01M15 10h.01M8.5 14c1.8 2.5 5.2 2.5 7 0",
  unread: "M4 6h16v12H4V6zM4 7l8 6 8-6",
  info: "M12 4a8 8 0 100 16 8 8 0 000-16zM12 11v5M12 8h.01",
  bell: "M6 17V11a6 6 0 1112 0v6H6zM4 17h16M10 20h4",
  mute: "M6 17V11a6 6 0 0110-4.5M18 11v6M4 17h16M10 20h4M4 4l16 16",
  lock: "M6 11h12v9H6v-9zM8.5 11V8a3.5 3.5 0 017 0v3",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  out: "M14 5H6v14h8M10 12h10M16.5 8.5L20 12l-3.5 3.5",
  check: "M5 12.5l4.5 4.5L19 7.5",
  calendar: "M5 6h14v14H5V6zM5 10h14M9 4v3M15 4v3",
};

export const Icon = ({name}) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;

/** A button that is an icon, with its name for everybody who cannot see it or wonders. */
export const IconButton = ({icon, label, keys, ...more}) => html`
  <button type="button" class="icon-button" aria-label=${label} title=${keys ? `${label} (${keys})` : label} ...${more}>
    <${Icon} name=${icon} />
  </button>`;

/** The hue of a name, 0 to 359: the same everywhere and always. */
export function hue(name) {
  let hash = 2166136261;
  for (const char of name.toLowerCase()) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  return ((hash >>> 0) * 137) % 360;
}

/** The first letters of a name, in its colour. */
export function Avatar({name, display, online, away, large}) {
  const letters = [...(display || name.replace("~", ""))].slice(0, 1).join("").toUpperCase();
  const presence = online === undefined ? "" : online ? (away !== undefined ? " is-away" : " is-online") : " is-offline";
  return html`
    <span class=${`avatar${presence}${large ? " large" : ""}`} style=${{"--hue": hue(name)}} aria-hidden="true">${letters}</span>`;
}

/** A name as people know it: the display name, with the account's behind it. */
export const Name = ({name, display, bot}) => html`
  <span class="who" title=${display ? `${display} (${name})` : name}>
    <bdi class="name">${display || name}</bdi>${display && html` <span class="account">${name}</span>`}
    ${bot && html` <span class="tag">bot</span>`}
  </span>`;

/** A badge for eyes, and words for ears. */
export function Badges({messages, mentions}) {
  if (!messages) return null;
  const words = `${messages} unread${mentions ? `, ${mentions} of them ${mentions === 1 ? "mentions" : "mention"} you` : ""}`;
  return html`
    <span class="badges">
      ${mentions > 0 && html`<span class="badge mention" aria-hidden="true">@${mentions > 99 ? "99+" : mentions}</span>`}
      <span class="badge" aria-hidden="true">${messages > 999 ? "999+" : messages}</span>
      <span class="hidden">, ${words}</span>
    </span>`;
}

/** "ana", "ana and bob", "ana, bob and cleo". */
export const joined = names => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join(""));

/** A sentence where nothing is to be seen. */
export const Empty = ({title, children}) => html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

export const Busy = () => html`<p class="busy" role="status">Loading…</p>`;

// --- times ---

let clock;
const formats = new Map();

/** `12` or `24` hours; what the browser thinks if it is neither. */
export function setClock(hours) {
  if (hours === clock) return;
  clock = hours;
  formats.clear();
}

function format(name, options) {
  if (!formats.has(name)) {
    const cycle = clock === "12" ? {hour12: true} : clock === "24" ? {hourCycle: "h23"} : {};
    formats.set(name, new Intl.DateTimeFormat(undefined, options.hour ? {...options, ...cycle} : options));
  }
  return formats.get(name);
}

export const time = at => format("time", {hour: "2-digit", minute: "2-digit"}).format(new Date(at));
export const whole = at => format("whole", {dateStyle: "full"}).format(new Date(at)) + ", " + time(at);

/** Today the time, otherwise the day. */
export function when(at) {
  const date = new Date(at), now = new Date();
  if (date.toDateString() === now.toDateString()) return time(at);
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return format(`day ${year}`, {day: "numeric", month: "short", year}).format(date);
}
