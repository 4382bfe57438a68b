// What is new, by room: where one is when no room is in view.

import {attempt, Avatar, Badges, Empty, html, Icon, IconButton, other, place, useChat, useEffect, when} from "./base.js";
import {listed, openBrowse} from "./rooms.js";

export function Inbox() {
  const {client} = useChat();
  const {state} = client;
  const {rooms, direct} = listed(state);
  const fresh = [...direct, ...rooms].filter(room => room.messages > 0)
    .sort((a, b) => b.mentions - a.mentions || (b.last ?? "").localeCompare(a.last ?? ""));
  const drafts = client.drafted();
  const refused = state.outbox.filter(item => item.state === "refused");
  useEffect(() => client.show(0), []);
  const read = room => attempt(client.command({cmd: "read", room: room.label, seq: room.head}));
  return html`
    <header class="room-head"><div class="head-words"><h1>Inbox</h1>
      <p class="sub">${fresh.length ? `${fresh.length} ${fresh.length === 1 ? "conversation has" : "conversations have"} something new` : "Everything is read"}</p></div>
      ${fresh.length > 0 && html`<button type="button" class="button small" onClick=${() => attempt(client.command({cmd: "read-all"}), "Everything is read.")}>
        <${Icon} name="check" />Mark all as read</button>`}</header>
    <div class="inbox">
      ${refused.length > 0 && html`<ul class="list">${refused.map(item => html`<li class="list-row" key=${item.id}>
        <span class="fault"><${Icon} name="info" /></span>
        <div class="grow"><p>Not sent to <b>${item.label}</b>: <span class="fault">${item.why}</span></p><p class="sub clip"><bdi>${item.text}</bdi></p></div>
        <a class="button small" href=${place(item.label)}>Open</a></li>`)}</ul>`}
      ${drafts.length > 0 && html`<ul class="list" aria-label="Drafts">${drafts.map(([label, text]) => html`<li class="list-row" key=${label}>
        <${Icon} name="edit" /><div class="grow"><p>Draft for <b>${label}</b></p><p class="sub clip"><bdi>${text}</bdi></p></div>
        <a class="button small" href=${place(label)}>Go on</a></li>`)}</ul>`}
      <ul class="list">${fresh.map(room => html`<${Fresh} key=${room.id} room=${room} state=${state} read=${read} />`)}</ul>
      ${!fresh.length && html`<${Empty} title="Nothing new">
        <p>${rooms.length ? "Choose a room on the left, or find another one." : "Find a room to talk in, or create one."}</p>
        <button type="button" class="button primary" onClick=${() => openBrowse(client)}>Find a room</button></${Empty}>`}
    </div>`;
}

function Fresh({room, state, read}) {
  const direct = room.label.startsWith("@");
  const who = direct && other(state, room.label, room);
  return html`
    <li class="list-row">
      ${direct ? html`<${Avatar} ...${who} />` : html`<span class="hash" aria-hidden="true">#</span>`}
      <a class="grow fresh" href=${place(room.label, room.first)}><b><bdi>${direct ? who.display || who.name : room.label}</bdi></b>
        ${room.last && html` <time class="sub">${when(room.last)}</time>`}
        <${Badges} messages=${room.messages} mentions=${direct ? 0 : room.mentions} /></a>
      <${IconButton} icon="check" label=${`Mark ${room.label} as read`} onClick=${() => read(room)} />
    </li>`;
}

