// The list of rooms: invitations, rooms, direct rooms by recency; and how to find, make and leave them.

import {attempt, Avatar, Badges, Busy, Empty, go, html, Icon, IconButton, other, place, useChat, usePages, useState} from "./base.js";
import {ask, close, Field, Form, Head, Menu, open} from "./dialog.js";
import {openSettings, openStatus} from "./settings.js";
import {openSwitcher} from "./switcher.js";
import {showMentions} from "./search.js";

/** Rooms in the order in which they are listed: rooms by name, direct ones by recency. */
export function listed(state) {
  const all = [...state.rooms.values()];
  const rooms = all.filter(room => !room.label.startsWith("@")).sort((a, b) => a.label.localeCompare(b.label));
  const direct = all.filter(room => room.label.startsWith("@"))
    .sort((a, b) => (b.last ?? "").localeCompare(a.last ?? "") || a.label.localeCompare(b.label));
  return {rooms, direct};
}

/** The room after (or before) the one in view: of all, or of those with something new. */
export function neighbour(state, here, step, unread) {
  const {rooms, direct} = listed(state);
  const all = [...rooms, ...direct];
  const at = all.findIndex(room => room.label === here);
  for (let i = 1; i <= all.length; i++) {
    const room = all[(at + step * i + 2 * all.length + (at < 0 && step < 0 ? 1 : 0)) % all.length];
    if (!unread || (room.messages && room.label !== here)) return room;
  }
  return undefined;
}

export function Rooms({there, alone}) {
  const {client} = useChat();
  const {state} = client;
  const {rooms, direct} = listed(state);
  const mentions = [...state.rooms.values()].reduce((all, room) => all + room.mentions, 0);
  const guest = state.me?.guest;
  return html`
    <div class="rooms" role=${alone ? "main" : undefined}><nav class="rooms-nav" aria-label="Rooms">
      ${alone && html`<h1 class="hidden">Rooms</h1>`}
      <header class="rooms-head">
        <button type="button" class="me" aria-haspopup="menu" onClick=${event => openMe(client, event.currentTarget)}>
          <${Avatar} name=${state.me.name} display=${state.me.display} online=${state.phase === "online"} away=${state.people.get(state.me.name)?.away} />
          <span class="me-words"><span class="me-name"><bdi>${state.me.display || state.me.name}</bdi></span>
            <span class="sub">${state.server?.name ?? "Chat"}</span></span>
        </button>
        <${IconButton} icon="search" label="Go to a room or person" keys="Ctrl K" onClick=${() => openSwitcher(client)} />
      </header>
      <div class="rooms-list">
        <a class=${`room-row ${there ? "" : "is-here"}`} href="#/~inbox" onClick=${event => { event.preventDefault(); go(""); }}
            aria-current=${there ? undefined : "page"}><${Icon} name="inbox" /><span class="label">Inbox</span></a>
        <button type="button" class="room-row" onClick=${() => showMentions(client)}>
          <${Icon} name="at" /><span class="label">Mentions</span><${Badges} messages=${mentions} /></button>
        ${state.invitations.length > 0 && html`
          <${Section} title="Invitations">${state.invitations.map(one => html`<${Invitation} key=${one.room} one=${one} client=${client} />`)}</${Section}>`}
        <${Section} title="Rooms" act=${html`<${IconButton} icon="plus" label="Find or create a room" onClick=${() => openBrowse(client)} />`}>
          ${rooms.map(room => html`<${Row} key=${room.id} room=${room} here=${room.label === there} />`)}
          ${rooms.length === 0 && html`<li class="hint pad">You are in no room yet.</li>`}
        </${Section}>
        ${!guest && html`
          <${Section} title="Direct messages" act=${html`<${IconButton} icon="plus" label="Write to somebody" onClick=${() => openSwitcher(client, "@")} />`}>
            ${direct.map(room => html`<${Row} key=${room.id} room=${room} here=${room.label === there} state=${state} />`)}
            ${direct.length === 0 && html`<li class="hint pad">Nobody yet. Press + to write to somebody.</li>`}
          </${Section}>`}
      </div>
    </nav></div>`;
}

function Section({title, act, children}) {
  return html`
    <section class="section">
      <header class="section-head"><h2>${title}</h2>${act}</header>
      <ul>${children}</ul>
    </section>`;
}

function Row({room, here, state}) {
  const direct = room.label.startsWith("@");
  const who = direct && other(state, room.label, room);
  const draft = useDraft(room.label, here);
  const unread = room.messages > 0;
  return html`
    <li>
      <a class=${`room-row ${here ? "is-here" : ""} ${unread ? "is-unread" : ""} ${room.notify === "nothing" ? "is-quiet" : ""}`}
          href=${place(room.label)} aria-current=${here ? "page" : undefined}>
        ${direct ? html`<${Avatar} ...${who} />` : html`<span class="hash" aria-hidden="true">#</span>`}
        <span class="label"><bdi>${direct ? who.display || who.name : room.label}</bdi>
          ${direct && html`<span class="hidden">${who.away !== undefined ? ", away" : who.online ? ", online" : ""}</span>`}</span>
        ${draft && html`<span class="draft" title="There is a draft"><${Icon} name="edit" /><span class="hidden">, draft</span></span>`}
        ${room.notify === "nothing" && html`<span class="draft"><${Icon} name="mute" /><span class="hidden">, notifications off</span></span>`}
        <${Badges} messages=${room.messages} mentions=${direct ? 0 : room.mentions} />
      </a>
    </li>`;
}

function useDraft(label, here) {
  const {client} = useChat();
  return !here && client.draft(label).trim() !== "";
}

const Invitation = ({one, client}) => html`
  <li class="invitation">
    <p><b>#${one.room}</b> <span class="sub">from ${one.by}</span></p>
    <button type="button" class="button small primary" onClick=${() => enter(client, one.room)}>Join</button>
  </li>`;

/** Joins a room and goes there. */
export async function enter(client, label) {
  const room = await attempt(client.join(label));
  if (!room) return;
  close();
  go(room.label ?? label);
}

function openMe(client, at) {
  const {me} = client.state;
  open(Menu, {
    at, label: "You", title: "You", items: [
      {icon: "smile", label: client.state.people.get(me.name)?.away === undefined ? "Set yourself away" : "Away: change or come back", act: () => openStatus(client)},
      {icon: "gear", label: "Settings", act: () => openSettings(client)},
      {icon: "check", label: "Mark everything as read", act: () => attempt(client.command({cmd: "read-all"}), "Everything is read.")},
      {icon: "info", label: "Keys", keys: "?", act: () => import("./keys.js").then(({openKeys}) => openKeys())},
      {icon: "out", label: "Log out", act: () => leaveServer(client)},
    ],
  });
}

function leaveServer(client) {
  const unsent = client.state.outbox.length;
  if (!unsent && !client.state.me.guest) return void client.logout();
  ask("Log out?", client.state.me.guest
    ? "You are a guest: nobody can come back under this name."
    : `${unsent === 1 ? "One message is" : `${unsent} messages are`} not sent yet. They stay on this device until you log in again.`,
  "Log out", () => client.logout(), false);
}

// --- finding and making rooms ---

export const openBrowse = client => open(Browse, {label: "Rooms", client, wide: true});

function Browse({client}) {
  const [prefix, setPrefix] = useState("");
  const list = usePages(async last => {
    const answer = await client.command({cmd: "rooms", ...(last && {after: last.room}), ...(prefix && {prefix})});
    return {items: answer.rooms, more: answer.more};
  }, [prefix]);
  const guest = client.state.me?.guest;
  return html`
    <${Head} title="Rooms">
      ${!guest && html`<button type="button" class="button small" onClick=${() => open(Create, {label: "New room", client, name: prefix})}>
        <${Icon} name="plus" />New room</button>`}
    </${Head}>
    <input class="filter" type="search" placeholder="Find a room by its beginning" aria-label="Find a room" data-first
      onInput=${event => setPrefix(event.target.value.trim().toLowerCase().replace(/^#/, ""))} />
    <ul class="list">
      ${list.items.map(room => html`
        <li class="list-row" key=${room.room}>
          <span class="hash" aria-hidden="true">#</span>
          <div class="grow"><p><b>${room.room}</b> <span class="sub">${room.members} ${room.members === 1 ? "member" : "members"}</span></p>
            ${room.topic && html`<p class="sub clip"><bdi>${room.topic}</bdi></p>`}</div>
          ${room.role
            ? html`<button type="button" class="button small" onClick=${() => { close(); go(room.room); }}>Open</button>`
            : html`<button type="button" class="button small primary" aria-label=${`Join ${room.room}`} onClick=${() => enter(client, room.room)}>Join</button>`}
        </li>`)}
    </ul>
    <${Rest} list=${list} empty=${prefix ? `No room begins with “${prefix}”.` : "There is no room yet."} />`;
}

/** The end of a list: more, nothing, or what went wrong. */
export function Rest({list, empty}) {
  if (list.error) return html`<p class="fault" role="alert">${list.error} <button type="button" class="link" onClick=${list.again}>Try again</button></p>`;
  if (list.busy) return html`<${Busy} />`;
  if (list.more) return html`<button type="button" class="button more" onClick=${list.next}>More</button>`;
  return list.items.length === 0 && empty ? html`<${Empty} title=${empty} />` : null;
}

function Create({client, name}) {
  const create = async ({room, visibility, topic}) => {
    const label = room.trim().toLowerCase().replace(/^#/, "");
    await client.command({cmd: "create", room: label, visibility, ...(topic.trim() && {topic: topic.trim()})});
    await client.join(label);
    go(label);
  };
  return html`
    <${Head} title="New room" />
    <${Form} button="Create room" onSend=${create} at=${{"bad-name": "room", "room-taken": "room", "bad-command": "room", "too-long": "topic"}}>
      <${Field} label="Name" name="room" value=${name} autocapitalize="none" autocomplete="off" spellcheck=${false} maxlength="64" data-first
        hint="Lower-case letters, digits, _ and -." />
      <${Field} label="Topic" name="topic" autocomplete="off" maxlength="500" hint="What the room is about. Optional." />
      <${Field} label="Who may read it" name="visibility" value="public" options=${[
        ["public", "Public: everybody can find, read and join it"], ["private", "Private: only those who are invited"]]} />
    </${Form}>`;
}

/** Asks, then leaves a room. */
export function leave(client, room) {
  ask(`Leave #${room.label}?`, "You get no more of its messages. You can join a public room again at any time; into a private one somebody has to invite you.",
    "Leave", async () => {
      await client.command({cmd: "leave", room: room.label});
      go("");
    });
}

export function changeTopic(client, room) {
  open(Topic, {label: "Topic", client, room});
}

const Topic = ({client, room}) => html`
  <${Head} title="Topic" sub=${`#${room.label}`} />
  <${Form} button="Save" onSend=${({topic}) => client.command({cmd: "topic", room: room.label, text: topic})} at=${{"too-long": "topic"}}>
    <${Field} label="What the room is about" name="topic" area=${true} rows="3" value=${room.topic ?? ""} maxlength="500" data-first />
  </${Form}>`;
