// The frame of the page: rooms, the room in view, the panel beside it; where one is, the keys, the title.

import {Busy, heading, html, Icon, IconButton, route, setClock, ui, useChat, useEffect, useState} from "./base.js";
import {DialogHost} from "./dialog.js";
import {keys} from "./keys.js";
import {Login} from "./login.js";
import {Inbox} from "./inbox.js";
import {Panel} from "./panel.js";
import {Room} from "./room.js";
import {Rooms} from "./rooms.js";

export function Page() {
  const {client, ui: shown} = useChat();
  const {state} = client;
  const inside = state.phase === "online" || state.phase === "offline";
  const there = useRoute();
  const narrow = useNarrow();
  useEffect(() => {
    if (!inside) return undefined;
    const act = keys(client);
    addEventListener("keydown", act);
    return () => removeEventListener("keydown", act);
  }, [client, inside]);
  useEffect(() => ui.set({panel: null, dialog: null, reply: null, edit: null}), [state.me?.name ?? ""]);
  setClock(state.prefer?.clock);
  const isLost = state.me?.guest && state.outbox.length > 0;
  useEffect(() => {
    if (!isLost) return undefined;
    const warn = event => event.preventDefault(); // nobody comes back as this guest
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, [isLost]);
  const unread = sum(state, "messages"), mentions = sum(state, "mentions");
  const title = state.server?.name ?? "Chat";
  useEffect(() => {
    if (!inside) return;
    const count = mentions ? `(@${mentions}) ` : unread ? `(${unread}) ` : "";
    document.title = `${count}${there.label ? `${heading(there.label)} · ` : ""}${title}`;
    const badge = mentions || unread;
    if (badge) navigator.setAppBadge?.(badge).catch(() => {});
    else navigator.clearAppBadge?.().catch(() => {});
  }, [inside, unread, mentions, there.label, title]);
  if (state.phase === "starting") return html`<main class="login"><${Busy} /></main>`;
  if (!inside) return html`<${Login} /><${DialogHost} dialog=${shown.dialog} toast=${shown.toast} />`;
  const side = shown.panel ? "panel" : there.label ? "room" : "rooms";
  return html`
    <div class=${`shell shows-${side} ${shown.panel ? "with-panel" : ""}`}>
      ${(client.called(there.label) || there.label.startsWith("@")) && html`<a class="skip" href="#box" onClick=${skip}>To the message box</a>`}
      <${Rooms} there=${there.label} alone=${narrow && side === "rooms"} />
      <main class="main" aria-label=${there.label ? heading(there.label) : "Inbox"}>
        <${Connection} />
        ${there.label ? html`<${Room} key=${`${state.me.name} ${there.label}`} label=${there.label} seq=${there.seq} visit=${there.visit} />` : html`<${Inbox} />`}
      </main>
      ${shown.panel && html`<${Panel} panel=${shown.panel} alone=${narrow} key=${shown.panel.key} />`}
    </div>
    <${DialogHost} dialog=${shown.dialog} toast=${shown.toast} />`;
}

const sum = (state, field) => [...state.rooms.values()]
  .reduce((all, room) => all + (room.notify === "nothing" && field === "messages" ? 0 : room[field]), 0);

function skip(event) {
  event.preventDefault();
  document.querySelector("#box")?.focus();
}

/** Whether there is room for one column only. */
function useNarrow() {
  const [query] = useState(() => matchMedia("(max-width: 719px)"));
  const [narrow, set] = useState(query.matches);
  useEffect(() => {
    const change = () => set(query.matches);
    query.addEventListener("change", change);
    return () => query.removeEventListener("change", change);
  }, []);
  return narrow;
}

/** Where the address leads; `visit` is another number each time, so that a link to the place where one is works. */
function useRoute() {
  const [there, set] = useState(() => ({...route(), visit: 0}));
  useEffect(() => {
    const move = () => {
      ui.set({dialog: null, reply: null, edit: null});
      set(old => {
        const next = route();
        if (next.label !== old.label && ui.value.panel?.of) ui.set({panel: null});
        return {...next, visit: old.visit + 1};
      });
    };
    addEventListener("hashchange", move);
    if (route().label !== there.label) move(); // it changed before anybody listened
    return () => removeEventListener("hashchange", move);
  }, []);
  return there;
}

/** Says how it stands with the connection, if it is not there for half a second: most are back by then. */
function Connection() {
  const {client} = useChat();
  const {state} = client;
  const [looks, look] = useState(0);
  const away = state.phase === "offline";
  useEffect(() => {
    if (!away) return undefined;
    const timer = setInterval(() => look(count => count + 1), 500);
    return () => {
      clearInterval(timer);
      look(0);
    };
  }, [away]);
  const unsent = state.outbox.filter(item => item.state !== "refused").length;
  const then = unsent ? ` ${unsent === 1 ? "Your message" : `Your ${unsent} messages`} will be sent.` : "";
  const seconds = state.retryAt ? Math.ceil((state.retryAt - Date.now()) / 1000) : 0;
  const next = !navigator.onLine ? "You are offline." : seconds > 1 ? `No connection. Trying again in ${seconds} s.` : "Connecting…";
  return html`
    <div class="connection" role="status">
      ${away && looks > 0 && html`<p class="connection-line"><span class="spinner" aria-hidden="true"></span>${next}${then}</p>`}
      ${!away && state.notice && html`
        <p class="connection-line is-notice"><${Icon} name="info" /><span>${state.notice}</span>
          <${IconButton} icon="close" label="Hide this notice" onClick=${() => client.dismiss()} /></p>`}
    </div>`;
}
