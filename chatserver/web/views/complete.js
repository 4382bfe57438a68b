// Completion in the message box: @names, #rooms and :emoji: before the cursor.

import {EMOJI} from "./emoji.js";

const SHOWN = 8;
const WORD = /(^|[\s(])([@#:])([\p{L}\p{N}_~+-]{0,32})$/u;

/** What is being typed before the cursor: `{kind, word, from}`, or null. */
export function typed(text, cursor) {
  const found = WORD.exec(text.slice(Math.max(0, cursor - 40), cursor));
  if (!found) return null;
  const [, , kind, word] = found;
  if (kind === ":" && word.length < 2) return null;
  return {kind, word: word.toLowerCase(), from: cursor - word.length - 1};
}

/** What it could become, best first: `{text, label, more}`. */
export function matches(state, what) {
  if (what.kind === ":") {
    return EMOJI.filter(([, names]) => names.split(" ").some(name => name.startsWith(what.word)))
      .slice(0, SHOWN).map(([char, names]) => ({text: char, label: char, more: `:${names.split(" ")[0]}:`}));
  }
  if (what.kind === "#") {
    return [...state.rooms.values()].filter(room => !room.label.startsWith("@") && room.label.startsWith(what.word))
      .slice(0, SHOWN).map(room => ({text: `#${room.label} `, label: `#${room.label}`, more: room.topic ?? ""}));
  }
  const fits = person => person.name.toLowerCase().startsWith(what.word)
    || (person.display ?? "").toLowerCase().split(" ").some(word => word.startsWith(what.word));
  return [...state.people.values()].filter(person => person.name !== state.me.name && fits(person))
    .sort((a, b) => Number(b.online ?? false) - Number(a.online ?? false) || a.name.localeCompare(b.name))
    .slice(0, SHOWN).map(person => ({text: `@${person.name} `, label: `@${person.name}`, more: person.display ?? ""}));
}
