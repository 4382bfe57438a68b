// People: the members of a room, a profile with what one can do about somebody.

import {attempt, Avatar, go, html, Icon, IconButton, Name, says, toast, useChat, useEffect, usePages, useState, when} from "./base.js";
import {ask, Menu, open} from "./dialog.js";
import {actsOn, openInvite} from "./moderation.js";
import {showPanel} from "./panel.js";
import {Rest} from "./rooms.js";

export const showMembers = (client, room) => showPanel(Members, "Members", {client, room, of: room.label, sub: `#${room.label}`});
export const showProfile = (client, name) => showPanel(Profile, "Profile", {client, name, id: name});

function Members({client, room}) {
  useChat();
  const [prefix, setPrefix] = useState("");
  const list = usePages(async last => {
    const answer = await client.command({cmd: "members", room: room.label, ...(last && {after: last.name}), ...(prefix && {prefix})});
    return {items: answer.members, more: answer.more};
  }, [prefix, room.members ?? 0]);
  const {people} = client.state;
  const live = member => ({...member, online: people.get(member.name)?.online ?? member.online, away: people.get(member.name)?.away});
  const all = list.items.map(live);
  const groups = [["Online", all.filter(one => one.online)], ["Offline", all.filter(one => !one.online)]];
  return html`
    <div class="panel-tools">
      <input class="filter" type="search" aria-label="Find a member" placeholder="Find a member" autocapitalize="none"
        onInput=${event => setPrefix(event.target.value.trim())} data-first />
      ${!client.state.me.guest && html`<button type="button" class="button small" onClick=${() => openInvite(client, room)}>
        <${Icon} name="plus" />Invite</button>`}
    </div>
    ${groups.filter(([, members]) => members.length).map(([title, members]) => html`
      <section class="section"><header class="section-head"><h3>${title} <span class="sub">${members.length}</span></h3></header>
        <ul>${members.map(one => html`<li key=${one.name} class="person">
          <button type="button" class="room-row" onClick=${() => showProfile(client, one.name)}>
            <${Avatar} ...${one} /><span class="label"><${Name} ...${one} /></span>
            ${one.role !== "member" && html`<span class="tag">${one.role}</span>`}</button>
          ${one.name !== client.state.me.name && html`<${IconButton} icon="more" aria-haspopup="menu" label=${`More about ${one.name}`}
            onClick=${event => memberMenu(client, room, one, event.currentTarget, () => list.again())} />`}
        </li>`)}</ul></section>`)}
    <${Rest} list=${list} empty=${prefix ? `Nobody begins with “${prefix}”.` : "Nobody is here."} />`;
}

function memberMenu(client, room, member, at, again) {
  open(Menu, {at, label: member.name, title: member.name, items: [
    {icon: "info", label: "Profile", act: () => showProfile(client, member.name)},
    !client.state.me.guest && {icon: "send", label: `Write to ${member.name}`, act: () => go(`@${member.name}`)},
    ...actsOn(client, room, member, again),
  ]});
}

function Profile({client, name}) {
  useChat();
  const [person, setPerson] = useState(null);
  const [fault, setFault] = useState("");
  const {state} = client;
  const look = () => client.command({cmd: "who", name}).then(answer => setPerson(answer.users[0]), why => setFault(says(why)));
  useEffect(() => void look(), [name]);
  const known = {name, ...person, ...state.people.get(name)};
  const mine = name === state.me.name, blocked = person?.blocked;
  const ignored = state.ignored.has(name);
  const status = blocked ? "Blocked" : known.away !== undefined ? `Away${known.away ? `: ${known.away}` : ""}` : known.online ? "Online"
    : person?.last_seen ? `Last seen ${when(person.last_seen)}` : "Offline";
  const act = (cmd, done) => attempt(client.command({cmd, name}), done).then(look);
  const block = () => ask(`Block ${name}?`, "You get no more direct messages and invitations from this account, and neither of you sees whether the other is online.",
    "Block", async () => { await client.command({cmd: "block", name}); toast(`${name} is blocked.`); look(); });
  return html`
    <div class="profile">
      <${Avatar} ...${known} large=${true} />
      <h3><bdi>${known.display || name}</bdi></h3>
      <p class="sub">${known.display ? html`${name} · ` : ""}${known.bot ? "Bot · " : ""}${status}</p>
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
      ${!mine && html`<div class="profile-acts">
        ${!state.me.guest && html`<button type="button" class="button primary" onClick=${() => go(`@${name}`)}><${Icon} name="send" />Write</button>`}
        <button type="button" class="button" onClick=${() => act(ignored ? "unignore" : "ignore", ignored ? `You see ${name} again.` : `You no longer see what ${name} says.`)}>
          ${ignored ? "Stop ignoring" : "Ignore"}</button>
        ${blocked ? html`<button type="button" class="button" onClick=${() => act("unblock", `${name} is no longer blocked.`)}>Unblock</button>`
          : html`<button type="button" class="button danger" onClick=${block}>Block</button>`}
      </div>
      <p class="hint">To ignore hides what ${name} says from you. To block also refuses direct messages and invitations.</p>`}
    </div>`;
}
