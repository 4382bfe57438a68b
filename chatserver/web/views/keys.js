// The keys of the page, and the list of them.

import {go, html, route, ui} from "./base.js";
import {Head, open} from "./dialog.js";
import {closePanel} from "./panel.js";
import {neighbour} from "./rooms.js";
import {showSearch} from "./search.js";
import {openSwitcher} from "./switcher.js";

const LIST = [
  ["Ctrl K", "Go to a room or person"], ["Alt ↑ / Alt ↓", "Previous, next room"],
  ["Alt Shift ↑ / Alt Shift ↓", "Previous, next room with something new"], ["n", "Next room with something new, when you are not typing"],
  ["Enter", "Send"], ["Shift Enter", "New line"], ["↑", "Edit your last message, in an empty box"], ["Tab", "Complete @name, #room, :emoji:"],
  ["Esc", "Close, or stop replying or editing"], ["Ctrl F", "Search"],
  ["↑ / ↓ in the log", "From message to message; Enter opens its menu"], ["Home / End in the log", "The first message, the newest one"],
  ["?", "This list"],
];

/** Opens the list of keys. */
export const openKeys = () => open(Keys, {label: "Keys"});

const Keys = () => html`
  <${Head} title="Keys" />
  <dl class="keys">${LIST.map(([key, what]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>`;

const isTyping = target => target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");

/** What to do on `keydown`, anywhere on the page. */
export const keys = client => event => {
  if (event.defaultPrevented || event.isComposing) return;
  const act = acts(client, event);
  if (!act) return;
  event.preventDefault();
  act();
};

function acts(client, event) {
  const {key, altKey, shiftKey} = event;
  const command = event.ctrlKey || event.metaKey;
  const {dialog, panel} = ui.value;
  const here = route().label;
  if (dialog) return null;
  if (command && !altKey && key.toLowerCase() === "k") return () => openSwitcher(client);
  if (command && !altKey && !shiftKey && key.toLowerCase() === "f") return () => showSearch(client, client.called(here) ? here : "");
  if (altKey && !command && (key === "ArrowUp" || key === "ArrowDown")) {
    return () => visit(neighbour(client.state, here, key === "ArrowUp" ? -1 : 1, shiftKey));
  }
  if (key === "Escape" && panel) return closePanel;
  if (command || altKey || isTyping(event.target)) return null;
  if (key === "n") return () => visit(neighbour(client.state, here, 1, true));
  if (key === "?") return openKeys;
  return null;
}

function visit(room) {
  if (room) go(room.label);
}
