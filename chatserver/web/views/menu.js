// What one can do with a message: the menu, reactions, erasing, links.

import {attempt, Busy, html, joined, place, toast, ui, useEffect, useState} from "./base.js";
import {ask, close, Head, Menu, open} from "./dialog.js";
import {EMOJI, FREQUENT} from "./emoji.js";
import {showProfile} from "./people.js";
import {reply} from "./room.js";
import {showThread} from "./thread.js";

const RANK = {member: 0, moderator: 1, owner: 2};

/** Opens the menu of a message, beside `at`. */
export const messageMenu = (client, room, entry, at) => open(MessageMenu, {at, label: `Message of ${entry.from}`, client, room, entry});

function MessageMenu({label, client, room, entry}) {
  const [pinned, setPinned] = useState(false);
  const {me} = client.state;
  const mine = entry.from === me.name;
  const moderator = !room.label.startsWith("@") && RANK[room.role] > 0;
  const live = !entry.erased && entry.event === "message";
  const here = {room: room.label, seq: entry.seq};
  useEffect(() => { // the first pin below the next message is this one, if it is pinned
    client.command({cmd: "pins", room: room.label, before: entry.seq + 1, limit: 1}).then(({entries}) => setPinned(entries[0]?.seq === entry.seq), () => {});
  }, []);
  const items = [
    live && {icon: "reply", label: "Reply", act: () => reply(entry)},
    live && {icon: "smile", label: "React", act: () => open(Picker, {label: "React", client, room, entry})},
    live && mine && {icon: "edit", label: "Edit", keys: "↑", act: () => ui.set({edit: entry, reply: null})},
    (entry.replies > 0 || entry.re) && {icon: "thread", label: "Show the thread", act: () => showThread(client, room.label, entry.re ?? entry.seq)},
    live && Object.keys(entry.reactions ?? {}).length > 0 && {icon: "people", label: "Who reacted", act: () => open(Reactions, {label: "Reactions", client, room, entry})},
    live && (pinned ? {icon: "pin", label: "Unpin", act: () => attempt(client.command({cmd: "unpin", ...here}), "Unpinned.")}
      : {icon: "pin", label: "Pin", act: () => attempt(client.command({cmd: "pin", ...here}), "Pinned.")}),
    !mine && {icon: "unread", label: "Mark unread from here", act: () => attempt(client.command({cmd: "read", room: room.label, seq: entry.seq - 1, back: true}))},
    live && {icon: "check", label: "Copy the text", act: () => copy(entry.text, "Copied.")},
    {icon: "link", label: "Copy the link", act: () => copy(new URL(place(room.label, entry.seq), location.href).href, "The link is copied.")},
    !mine && {icon: "info", label: `About ${entry.from}`, act: () => showProfile(client, entry.from)},
    live && (mine || moderator) && {icon: "erase", label: "Erase", danger: true, act: () => erase(client, room, entry)},
  ];
  return html`
    <${Menu} title=${label} items=${items}>${live && html`
      <div class="quick" role="group" aria-label="React">
        ${FREQUENT.map(one => html`<button type="button" class="quick-one" aria-label=${`React with ${one}`}
          onClick=${() => { close(); react(client, room, entry, one); }}>${one}</button>`)}
      </div>`}</${Menu}>`;
}

/** Gives a reaction, or takes it back if it is given. */
export function react(client, room, entry, reaction) {
  const remove = (entry.mine ?? []).includes(reaction);
  return attempt(client.command({cmd: "react", room: room.label, seq: entry.seq, reaction, ...(remove && {remove})}));
}

/** Says on a button of a reaction who gave it. */
export async function tellWho(client, room, entry, reaction, button) {
  if (button.title) return;
  const {reactions: [one]} = await client.command({cmd: "reactions", room: room.label, seq: entry.seq, reaction});
  if (!one) return;
  const names = one.names.slice(0, 20), rest = one.count - names.length;
  if (rest > 0) names.push(`${rest} more`);
  button.title = `${joined(names)} reacted with ${reaction}`;
  button.lastChild.textContent = `, by ${joined(names)}`;
}

export function erase(client, room, entry) {
  ask("Erase this message?", "Its text is removed from the server, for everybody and for good.", "Erase",
    () => client.command({cmd: "erase", room: room.label, seq: entry.seq}));
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    toast(done);
  } catch {
    open(Copied, {label: "Copy", text});
  }
}

/** For browsers that let no page write to the clipboard. */
const Copied = ({text}) => html`
  <${Head} title="Copy" />
  <textarea class="copied" readonly rows="4" aria-label="Text to copy" data-first onFocus=${event => event.target.select()}>${text}</textarea>`;

function Picker({client, room, entry}) {
  const [text, setText] = useState("");
  const wanted = text.trim().toLowerCase().replace(/^:|:$/g, "");
  const found = EMOJI.filter(([, names]) => names.includes(wanted));
  const give = reaction => {
    close();
    react(client, room, entry, reaction);
  };
  return html`
    <${Head} title="React" />
    <form onSubmit=${event => { event.preventDefault(); const one = found[0]?.[0] ?? text.trim(); if (one) give(one); }}>
      <input class="filter" type="search" placeholder="Find an emoji, or type any word" aria-label="Reaction" maxlength="32" data-first
        autocomplete="off" onInput=${event => setText(event.target.value)} />
    </form>
    <div class="emoji-grid">
      ${found.map(([char, names]) => html`<button type="button" key=${char} class="emoji" title=${names.split(" ")[0]}
        aria-label=${names.split(" ")[0].replaceAll("_", " ")} onClick=${() => give(char)}>${char}</button>`)}
    </div>
    ${found.length === 0 && html`<p class="hint pad">Press Enter to react with “${text.trim()}”.</p>`}`;
}

function Reactions({client, room, entry}) {
  const [lists, setLists] = useState(null);
  useEffect(() => {
    client.command({cmd: "reactions", room: room.label, seq: entry.seq}).then(answer => setLists(answer.reactions), () => setLists([]));
  }, []);
  return html`
    <${Head} title="Who reacted" />
    ${lists === null && html`<${Busy} />`}
    <dl class="reactors">
      ${(lists ?? []).map(one => html`<dt>${one.reaction} <span class="sub">${one.count}</span></dt>
        <dd><bdi>${one.names.join(", ")}${one.more ? " and more" : ""}</bdi></dd>`)}
    </dl>`;
}

