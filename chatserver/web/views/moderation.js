// Looking after a room: roles, kicks, bans, mutes, pace, invitations, who may read the past.

import {attempt, Avatar, go, html, Name, useEffect, usePages, useState, when, whole} from "./base.js";
import {ask, Field, Form, Head, open, wrong} from "./dialog.js";
import {Rest} from "./rooms.js";

const RANK = {member: 0, moderator: 1, owner: 2};
const TIMES = [["600", "10 minutes"], ["3600", "1 hour"], ["86400", "1 day"], ["604800", "1 week"], ["", "For good"]];
const PACES = [["0", "No limit"], ["5", "5 seconds"], ["30", "30 seconds"], ["60", "minute"], ["600", "10 minutes"]];

/** What one may do with a member of the room, as items of a menu. */
export function actsOn(client, room, member, again) {
  const mine = RANK[room.role] ?? 0;
  const send = (command, done) => attempt(client.command({room: room.label, name: member.name, ...command}), done).then(again);
  const below = mine > (RANK[member.role] ?? 0);
  const owner = mine === RANK.owner;
  const form = (title, button, cmd, timed) => open(Act, {label: title, title, button, timed,
    act: fields => client.command({cmd, room: room.label, name: member.name, ...fields}).then(again)});
  return [
    owner && member.role === "member" && {icon: "plus", label: "Make moderator", act: () => send({cmd: "role", role: "moderator"}, "Done.")},
    owner && member.role === "moderator" && {icon: "close", label: "Make an ordinary member", act: () => send({cmd: "role", role: "member"}, "Done.")},
    owner && member.role !== "owner" && {icon: "lock", label: "Make owner", act: () => ask(`Make ${member.name} an owner?`,
      "An owner can change roles, also yours, and delete the room.", "Make owner", () => client.command({cmd: "role", room: room.label, name: member.name, role: "owner"}).then(again))},
    below && {icon: "mute", label: "Mute…", act: () => form(`Mute ${member.name}`, "Mute", "mute", true)},
    below && {icon: "bell", label: "End the mute", act: () => send({cmd: "unmute"}, `${member.name} can speak.`)},
    below && {icon: "out", label: "Remove from the room…", danger: true, act: () => form(`Remove ${member.name}`, "Remove", "kick", false)},
    below && {icon: "erase", label: "Ban…", danger: true, act: () => form(`Ban ${member.name}`, "Ban", "ban", true)},
  ];
}

function Act({title, button, timed, act}) {
  const send = ({seconds, reason}) => act({...(seconds && {seconds: Number(seconds)}), ...(reason?.trim() && {reason: reason.trim()})});
  return html`
    <${Head} title=${title} />
    <${Form} button=${button} danger=${true} onSend=${send}>
      ${timed && html`<${Field} label="For how long" name="seconds" value="3600" options=${TIMES} />`}
      ${button !== "Mute" && html`<${Field} label="Reason" name="reason" maxlength="500" autocomplete="off" hint="Everybody in the room can read it. Optional." />`}
    </${Form}>`;
}

export const openInvite = (client, room) => open(Invite, {label: "Invite", client, room});

const Invite = ({client, room}) => html`
  <${Head} title="Invite somebody" sub=${`#${room.label}`} />
  <${Form} button="Invite" at=${{"no-such-user": "name", "blocked": "name", "not-allowed": "name", "bad-command": "name"}}
      onSend=${async ({name}) => {
        if (!name.trim()) throw wrong("name", "Type the name of an account.");
        await client.command({cmd: "invite", room: room.label, name: name.trim().replace(/^@/, "")});
      }}>
    <${Field} label="Name of the account" name="name" autocapitalize="none" autocomplete="off" spellcheck=${false} data-first />
  </${Form}>`;

export const openRoom = (client, room) => open(Settings, {label: "Room settings", client, room, wide: true});

function Settings({client, room}) {
  const owner = room.role === "owner", moderator = RANK[room.role] > 0;
  const [now, setNow] = useState(null);
  const set = (fields, done) => attempt(client.command({cmd: "set", room: room.label, ...fields}), done).then(answer => answer && setNow(answer));
  useEffect(() => {
    if (moderator) set({});
  }, [moderator]);
  const choice = (name, label, options, more) => html`<${Field} label=${label} name=${name} value=${String(now[name])} options=${options} ...${more}
    onChange=${value => set({[name]: name === "pace" ? Number(value) : value}, "Saved.")} />`;
  const paces = now && !PACES.some(([pace]) => pace === String(now.pace)) ? [...PACES, [String(now.pace), `${now.pace} seconds`]] : PACES;
  const remove = () => ask(`Delete #${room.label}?`, "The room and everything in it is gone for all members.", "Delete the room", async () => {
    await client.command({cmd: "delete", room: room.label});
    go("");
  });
  return html`
    <${Head} title=${`#${room.label}`} sub=${now ? `${now.visibility === "private" ? "Private" : "Public"} room` : "Room settings"} />
    <div class="sections">
      <section><h3>Invitations</h3>
        <button type="button" class="button" onClick=${() => openInvite(client, room)}>Invite somebody</button>
        ${owner && now && html`<div class="field-row">
          ${choice("invites", "Who may invite", [["members", "All members"], ["moderators", "Moderators and owners"]])}
          ${now.visibility === "private" && choice("past", "New members may read", [["open", "Everything"], ["closed", "What comes after they join"]])}</div>`}
      </section>
      ${moderator && html`<section><h3>Pace</h3>
        ${now && choice("pace", "Each member may send one message every", paces, {hint: "Moderators and owners do not wait."})}
      </section>
      <section><h3>Bans</h3><${Bans} client=${client} room=${room} /></section>`}
      ${owner && html`<section><h3>Delete</h3>
        <button type="button" class="button danger" onClick=${remove}>Delete the room…</button></section>`}
      ${!moderator && html`<p class="hint">Only moderators and owners can change more than that. You are a ${room.role ?? "member"}.</p>`}
    </div>`;
}

function Bans({client, room}) {
  const list = usePages(async (last, page) => {
    const answer = await client.command({cmd: "bans", room: room.label, ...(last && {before: page.before})});
    return {items: answer.bans, more: answer.more, before: answer.before};
  }, [room.label]);
  const end = name => attempt(client.command({cmd: "unban", room: room.label, name}), `${name} may come back.`).then(list.again);
  return html`
    <ul class="list">${list.items.map(ban => html`<li class="list-row" key=${ban.name}>
      <${Avatar} name=${ban.name ?? "?"} /><div class="grow"><p><${Name} name=${ban.name} /> <span class="sub">by ${ban.by}${ban.until ? html`, until <time title=${whole(ban.until)}>${when(ban.until)}</time>` : ""}</span></p>
        ${ban.reason && html`<p class="sub"><bdi>${ban.reason}</bdi></p>`}</div>
      <button type="button" class="button small" onClick=${() => end(ban.name)}>End</button></li>`)}</ul>
    <${Rest} list=${list} empty="Nobody is banned." />`;
}
