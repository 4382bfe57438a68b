// Lists of messages from anywhere: a search, mentions, pins. Each message leads to its place in the log.

import {attempt, Avatar, go, heading, html, IconButton, Name, useChat, usePages, useState, when, whole} from "./base.js";
import {plain} from "../core/text.js";
import {closePanel, showPanel} from "./panel.js";
import {Rest} from "./rooms.js";

const narrow = () => matchMedia("(max-width: 1099px)").matches;

/** A message in a list; a click goes to it. */
export function Found({entry, room = true, act}) {
  const jump = () => {
    go(entry.room, entry.seq);
    if (narrow()) closePanel();
  };
  return html`
    <li class="found">
      <button type="button" class="found-go" onClick=${jump}>
        <${Avatar} name=${entry.from ?? "?"} display=${entry.display} />
        <span class="grow">
          <span class="found-head"><${Name} name=${entry.from ?? ""} display=${entry.display} bot=${entry.bot} />
            ${room && html`<span class="sub">${heading(entry.room)}</span>`}
            <time class="sub" datetime=${entry.at} title=${whole(entry.at)}>${when(entry.at)}</time></span>
          <span class="found-text" dir="auto">${entry.erased ? html`<i class="sub">Erased</i>` : plain(entry.text ?? "")}</span>
        </span>
      </button>
      ${act}
    </li>`;
}

export const showSearch = (client, label) => showPanel(Search, "Search", {client, label, id: "search"});
export const showMentions = client => showPanel(List, "Mentions", {client, command: {cmd: "mentions"}, empty: "Nobody has mentioned you yet.",
  sub: "Messages with your name, and answers to yours"});
export const showPins = (client, label) => showPanel(List, "Pinned messages", {client, of: label, pins: true, command: {cmd: "pins", room: label},
  empty: "Nothing is pinned here. Pin a message from its menu.", sub: heading(label)});

function List({client, command, empty, pins}) {
  useChat();
  const changed = pins && client.called(command.room)?.runs.newest()?.entries.findLast(one => /pinned$/.test(one.event))?.seq;
  const list = useEntries(client, command, changed);
  const unpin = entry => attempt(client.command({cmd: "unpin", room: command.room, seq: entry.seq}), "Unpinned.");
  return html`
    <ul class="founds">${list.items.map(entry => html`<${Found} key=${`${entry.room_id} ${entry.seq}`} entry=${entry} room=${!pins}
      act=${pins && html`<${IconButton} icon="close" label="Unpin" onClick=${() => unpin(entry)} />`} />`)}</ul>
    <${Rest} list=${list} empty=${empty} />`;
}

function useEntries(client, command, changed) {
  return usePages(async (last, page) => {
    const answer = await client.command({...command, ...(page?.before !== undefined && last && {before: page.before})});
    return {items: answer.entries, more: answer.more, before: answer.before};
  }, [JSON.stringify(command), changed]);
}

function Search({client, label}) {
  const [wanted, setWanted] = useState(null);
  const [here, setHere] = useState(Boolean(label));
  const {client: {state}} = useChat();
  const send = event => {
    event.preventDefault();
    const {text, from, since, until} = Object.fromEntries(new FormData(event.currentTarget));
    const command = {cmd: "search", ...(text.trim() && {text: text.trim()}), ...(from.trim() && {from: from.trim().replace(/^@/, "")}),
      ...(since && {since: new Date(`${since}T00:00`).toISOString()}),
      ...(until && {until: new Date(new Date(`${until}T00:00`).getTime() + 86_400_000).toISOString()}), ...(here && label && {room: label})};
    setWanted(command.text || command.from ? command : null);
  };
  return html`
    <form class="search" role="search" onSubmit=${send}>
      <div class="search-row"><input type="search" name="text" placeholder="Words, or “a phrase”" aria-label="Words to find" data-first autocomplete="off"
          maxlength=${state.server?.limits?.search ?? 200} />
        <button class="button primary">Search</button></div>
      ${label && html`<label class="check"><input type="checkbox" checked=${here} onChange=${event => setHere(event.target.checked)} />
        Only in ${heading(label)}</label>`}
      <details><summary>More fields</summary>
        <div class="search-more">
          <label>From<input name="from" autocomplete="off" placeholder="name" autocapitalize="none" /></label>
          <label>Since<input name="since" type="date" /></label><label>Until<input name="until" type="date" /></label>
        </div></details>
    </form>
    ${wanted ? html`<${List} key=${JSON.stringify(wanted)} client=${client} command=${wanted} empty="Nothing was found." />`
      : html`<p class="hint pad">Capitals and accents make no difference. The last word may be a beginning.</p>`}`;
}
