// Ctrl-K: to a room or a person by a few letters of the name.

import {Avatar, Badges, go, html, other, useChat, useEffect, useRef, useState} from "./base.js";
import {find} from "../core/search.js";
import {close, open} from "./dialog.js";

const SHOWN = 30;

export const openSwitcher = (client, begin = "") => open(Switcher, {label: "Go to a room or person", begin});

function Switcher({begin}) {
  const {client} = useChat();
  const {state} = client;
  const [text, setText] = useState(begin);
  const [at, setAt] = useState(0);
  const list = useRef(null);
  const wanted = text.trim().toLowerCase();
  const letters = wanted.replace(/^[@#]/, "");
  const found = find(letters, candidates(state, wanted[0]), one => [one.label, one.display ?? ""], SHOWN);
  const plain = /^[a-z0-9][\w-]*$/.test(letters) && !found.some(one => one.label.replace(/^@/, "") === letters);
  if (plain && wanted[0] !== "@") found.push({label: letters, other: `Go to #${letters}`});
  if (plain && wanted[0] !== "#" && !state.me.guest) found.push({label: `@${letters}`, other: `Write to ${letters}`});
  const here = Math.min(at, Math.max(0, found.length - 1));
  useEffect(() => list.current?.children[here]?.scrollIntoView({block: "nearest"}), [here]);
  const take = one => {
    close();
    go(one.label);
    setTimeout(() => document.querySelector("#box")?.focus());
  };
  const keydown = event => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (step) {
      event.preventDefault();
      setAt((here + step + found.length) % Math.max(1, found.length));
    } else if (event.key === "Enter" && found[here]) {
      event.preventDefault();
      take(found[here]);
    }
  };
  return html`
    <input class="filter" type="text" role="combobox" aria-expanded="true" aria-controls="switcher-list" aria-label="Room or person" data-first
      aria-activedescendant=${found.length ? `switch-${here}` : undefined} autocomplete="off" spellcheck=${false} placeholder="Room or person"
      value=${text} onInput=${event => { setText(event.target.value); setAt(0); }} onKeyDown=${keydown} />
    <ul class="switch" id="switcher-list" role="listbox" aria-label="Rooms and people" ref=${list}>
      ${found.map((one, index) => html`
        <li role="option" class="switch-row" id=${`switch-${index}`} key=${one.label} aria-selected=${index === here} onClick=${() => take(one)}>
          ${one.label.startsWith("@") ? html`<${Avatar} name=${one.label.slice(1)} ...${one.person} />` : html`<span class="hash" aria-hidden="true">#</span>`}
          <span class="label"><bdi>${one.other ?? one.display ?? one.label.replace(/^@/, "")}</bdi>
            ${one.display && html` <span class="sub">${one.label.slice(1)}</span>`}</span>
          ${one.room && html`<${Badges} messages=${one.room.messages} mentions=${one.room.mentions} />`}
        </li>`)}
    </ul>
    ${!found.length && html`<p class="hint pad">Nothing has these letters.</p>`}`;
}

/** Rooms and people to choose from, those with something new first. */
function candidates(state, sign) {
  const all = new Map();
  for (const room of state.rooms.values()) {
    if (sign === (room.label.startsWith("@") ? "#" : "@")) continue;
    const person = room.label.startsWith("@") ? other(state, room.label, room) : undefined;
    all.set(room.label, {label: room.label, room, last: room.last, person, display: person?.display});
  }
  if (sign !== "#" && !state.me.guest) {
    for (const person of state.people.values()) {
      const label = `@${person.name}`;
      if (person.name !== state.me.name && !all.has(label)) all.set(label, {label, person, display: person.display});
    }
  }
  return [...all.values()].sort((a, b) => (b.room?.messages ? 1 : 0) - (a.room?.messages ? 1 : 0) || (b.last ?? "").localeCompare(a.last ?? ""));
}
