// The room in view: its head, the log, who is typing, and the box.

import {Log} from "./log.js";
import {attempt, Avatar, Empty, go, heading, html, Icon, IconButton, joined, other, ui, useChat, useEffect, useLayoutEffect, useRef} from "./base.js";
import {Box} from "./box.js";
import {Field, Form, Head, Menu, open, wrong} from "./dialog.js";
import {messageMenu, react, tellWho} from "./menu.js";
import {openRoom} from "./moderation.js";
import {showMembers, showProfile} from "./people.js";
import {changeTopic, enter, leave} from "./rooms.js";
import {showPins, showSearch} from "./search.js";
import {showThread} from "./thread.js";

export function Room({label, seq, visit}) {
  const {client} = useChat();
  const room = client.called(label);
  useEffect(() => client.show(room?.id ?? 0), [room?.id ?? 0]);
  // A room that was left, or does not exist; a direct room that has no message yet.
  if (!room && !label.startsWith("@")) return html`<${Stranger} label=${label} client=${client} />`;
  return html`
    <${RoomHead} label=${label} room=${room} client=${client} />
    ${room ? html`<${LogHost} key=${room.id} room=${room} client=${client} seq=${seq} visit=${visit} />` : html`<${Beginning} label=${label} />`}
    <${Typing} room=${room} />
    <${Box} key=${label} label=${label} room=${room} client=${client} />`;
}

function RoomHead({label, room, client}) {
  const direct = label.startsWith("@");
  const name = label.slice(1);
  const who = direct && other(client.state, label, room);
  const sub = direct
    ? who.away !== undefined ? `Away${who.away ? `: ${who.away}` : ""}` : who.online ? "Online" : "Offline"
    : room?.topic;
  return html`
    <header class="room-head">
      <a class="icon-button only-narrow" href="#/" aria-label="All rooms"><${Icon} name="back" /></a>
      ${direct && html`<${Avatar} ...${who} />`}
      <div class="head-words">
        <h1><bdi>${direct ? who.display || name : `#${label}`}</bdi>
          ${direct && who.display && html` <span class="account">${name}</span>`}</h1>
        ${sub ? html`<p class="sub clip" title=${sub}><bdi>${sub}</bdi></p>` : ""}
      </div>
      <div class="head-acts">
        ${room && html`<${IconButton} icon="search" label="Search" keys="Ctrl F" onClick=${() => showSearch(client, label)} />`}
        ${room && html`<${IconButton} icon="pin" class="icon-button not-tiny" label="Pinned messages" onClick=${() => showPins(client, label)} />`}
        ${direct
          ? html`<${IconButton} icon="info" label=${`About ${name}`} onClick=${() => showProfile(client, name)} />`
          : html`<button type="button" class="icon-button members-button" aria-label=${`${room.members ?? ""} members`} title="Members"
              onClick=${() => showMembers(client, room)}><${Icon} name="people" />${room.members ? html`<span>${room.members}</span>` : ""}</button>`}
        ${room && html`<${IconButton} icon="more" label="More about this room" aria-haspopup="menu"
          onClick=${event => roomMenu(client, room, event.currentTarget)} />`}
      </div>
    </header>`;
}

function roomMenu(client, room, at) {
  const direct = room.label.startsWith("@");
  const set = notify => attempt(client.command({cmd: "prefer", room: room.label, notify}), "Saved.");
  const says = {all: "every message", mentions: "mentions", nothing: "nothing"};
  open(Menu, {
    at, label: "Room", title: "Room", items: [
      {icon: "pin", label: "Pinned messages", act: () => showPins(client, room.label)},
      {icon: "calendar", label: "Go to a date", act: () => open(ToDate, {label: "Go to a date", client, room})},
      !direct && {icon: "edit", label: "Change the topic", act: () => changeTopic(client, room)},
      !direct && !client.state.me.guest && {icon: "lock", label: "Room settings and invitations", act: () => openRoom(client, room)},
      ...["all", "mentions", "nothing"].map(notify => ({
        icon: (room.notify ?? "mentions") === notify ? "check" : notify === "nothing" ? "mute" : "bell",
        label: `Notify me of ${says[notify]}`, act: () => set(notify),
      })),
      !direct && {icon: "out", label: "Leave", danger: true, act: () => leave(client, room)},
    ],
  });
}

function ToDate({client, room}) {
  const jump = async ({date}) => {
    if (!date) throw wrong("date", "Choose a date.");
    const since = new Date(`${date}T00:00`).toISOString();
    const {entries} = await client.command({cmd: "history", room: room.label, since, limit: 1});
    if (!entries.length) throw wrong("date", "Nothing was said from that day on.");
    go(room.label, entries[0].seq);
  };
  return html`
    <${Head} title="Go to a date" sub=${heading(room.label)} />
    <${Form} button="Go there" onSend=${jump}>
      <${Field} label="Day" name="date" type="date" value=${(room.last ?? new Date().toISOString()).slice(0, 10)} data-first />
    </${Form}>`;
}

/** Gives the log its element; everything inside is the log's own. */
function LogHost({room, client, seq, visit}) {
  const element = useRef(null);
  const log = useRef(null);
  useLayoutEffect(() => {
    const actions = {
      menu: (entry, at) => messageMenu(client, room, entry, at),
      reply: entry => reply(entry),
      react: (entry, reaction) => react(client, room, entry, reaction),
      who: (entry, reaction, button) => tellWho(client, room, entry, reaction, button).catch(() => {}),
      profile: name => showProfile(client, name),
      thread: entry => showThread(client, room.label, entry.seq),
      jump: to => go(room.label, to),
    };
    log.current = new Log(element.current, client, actions);
    log.current.show(room, seq ? {at: seq} : {});
    const end = client.subscribe(() => log.current.update());
    return () => {
      end();
      log.current.destroy();
    };
  }, [room.id]);
  const visited = useRef(visit);
  useEffect(() => {
    if (visited.current === visit) return;
    visited.current = visit;
    log.current.show(room, seq ? {at: seq} : {});
  }, [visit]);
  return html`<div class="log-host" ref=${element}></div>`;
}

export function reply(entry) {
  ui.set({reply: entry, edit: null});
  requestAnimationFrame(() => document.querySelector("#box")?.focus());
}

/** Who is typing; the client ends it after six seconds. */
function Typing({room}) {
  const names = [...room?.typing.keys() ?? []];
  const who = names.length > 3 ? "Several people are" : `${joined(names)} ${names.length > 1 ? "are" : "is"}`;
  return html`<p class="typing" aria-live="off">${names.length > 0 && html`<span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>${who} typing`}</p>`;
}

const Beginning = ({label}) => html`
  <div class="log-host is-empty"><${Empty} title=${`This is the beginning of your conversation with ${label.slice(1)}`}>
    <p>Nobody else can read what you two write here.</p></${Empty}></div>`;

/** A room that one is not in. */
function Stranger({label, client}) {
  const invited = client.state.invitations.find(one => one.room === label);
  return html`
    <header class="room-head">
      <a class="icon-button only-narrow" href="#/" aria-label="All rooms"><${Icon} name="back" /></a>
      <div class="head-words"><h1><bdi>#${label}</bdi></h1></div>
    </header>
    <${Empty} title=${invited ? `${invited.by} has invited you to #${label}` : `You are not in #${label}`}>
      <p>Join it to read and write. If it is private, a member has to invite you first.</p>
      <button type="button" class="button primary" onClick=${() => enter(client, label)}>Join #${label}</button>
    </${Empty}>`;
}
