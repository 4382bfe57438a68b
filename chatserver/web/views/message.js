// One row of the list of messages: an entry, or an item of the outbox, as DOM nodes. Never markup from text.
//
//   article.row.message[.is-first][.is-mine][.is-me-mentioned][.is-action][.is-erased][.is-target]   id="m-SEQ", tabindex
//     .gutter > .avatar (of the first of a group) or time.short
//     .body > header.by (name.name, .account, .tag, time), a.quote, .text, .marks (span.edited, a.thread), .reactions
//     .tools (buttons that show up on hover: reply, react, menu)
//   .row.event > .body                 what else happened
//   article.row.message.pending[.is-refused] … .status > buttons
//   .row.day > span, .row.new > span   separators

import { blocks, isEmojiOnly, plain } from "../core/text.js";
import { hue, place, time, whole } from "./base.js";

/** @typedef {import("../core/types.js").Entry} Entry */
/** @typedef {import("../core/types.js").Item} Item */
/** @typedef {import("../core/text.js").Piece} Piece */

/**
 * An element. @param {string} name "p", "p.class.other" @param {Record<string, any>} [fields] attributes; `on…` are listeners
 * @param {...(Node|string|null|undefined|false)} children @returns {HTMLElement}
 */
export function make(name, fields = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [field, value] of Object.entries(fields)) {
    if (value === undefined || value === false) continue;
    if (field.startsWith("on")) element.addEventListener(field.slice(2), value);
    else element.setAttribute(field, value === true ? "" : String(value));
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/** @param {Piece[]} list @param {any} actions @returns {(Node|string)[]} */
function inline(list, actions) {
  return list.map((piece) => {
    switch (piece.kind) {
      case "link": {
        return make("a", { href: piece.href, title: piece.href, target: "_blank", rel: "noopener noreferrer nofollow" }, piece.text);
      }
      case "code": return make("code", {}, piece.text);
      case "mention": {
        const fields = { type: "button", onclick: () => actions.profile?.(piece.name) };
        return make(piece.me ? "button.mention.is-me" : "button.mention", fields, piece.text);
      }
      case "text": return document.createTextNode(piece.text);
      default: return make({ em: "em", strong: "strong", strike: "s" }[piece.kind], {}, ...inline(piece.pieces, actions));
    }
  });
}

/** @param {Piece[][]} lines @param {any} actions @returns {(Node|string)[]} */
const joined = (lines, actions) => lines.flatMap((line, index) => [...(index ? [make("br")] : []), ...inline(line, actions)]);

/** The text of a message. @param {string} text @param {string} me @param {any} actions */
export function words(text, me, actions) {
  const element = make(isEmojiOnly(text) ? "div.text.only-emoji" : "div.text", { dir: "auto" });
  for (const block of blocks(text, me)) {
    if (block.kind === "fence") element.append(make("pre", { tabindex: "-1" }, make("code", {}, block.text)));
    else if (block.kind === "quote") element.append(make("blockquote", { dir: "auto" }, ...joined(block.lines, actions)));
    else if (block.kind === "list") {
      const list = make(block.start ? "ol" : "ul", block.start > 1 ? { start: block.start } : {});
      for (const item of block.items) list.append(make("li", {}, ...inline(item, actions)));
      element.append(list);
    } else element.append(make("p", { dir: "auto" }, ...joined(block.lines, actions)));
  }
  return element;
}

/** @param {string} name @param {string} [display] */
function avatar(name, display) {
  const letter = [...(display || name.replace("~", ""))][0]?.toUpperCase() ?? "";
  const element = make("span.avatar", { "aria-hidden": "true" }, letter);
  element.style.setProperty("--hue", String(hue(name)));
  return element;
}

/** @param {{name: string, display?: string, bot?: boolean}} person @param {any} actions */
function author({ name, display, bot }, actions) {
  const title = display ? `${display} (${name})` : name;
  const button = make("button.name", { type: "button", title, onclick: () => actions.profile?.(name) }, make("bdi", {}, display || name));
  button.style.setProperty("--hue", String(hue(name)));
  return [button, display ? make("span.account", {}, name) : null, bot ? make("span.tag", {}, "bot") : null];
}

/** @param {Entry} entry @param {any} actions */
function quoted(entry, actions) {
  const { quote, re = 0 } = entry;
  const what = quote?.erased ? "erased message" : (quote?.text && plain(quote.text).replace(/\s+/g, " ")) ?? `message #${re}`;
  return make("button.quote", { type: "button", onclick: () => actions.jump?.(re) }, make("span.hidden", {}, "In answer to "),
    quote ? make("bdi.quote-name", {}, quote.display || quote.from) : null, make("span.quote-text", { dir: "auto" }, what));
}

/** @param {Entry} entry @param {any} actions */
function reactions(entry, actions) {
  const list = Object.entries(entry.reactions ?? {});
  if (!list.length) return null;
  const row = make("div.reactions");
  for (const [reaction, count] of list) {
    const isMine = (entry.mine ?? []).includes(reaction);
    const who = () => actions.who?.(entry, reaction, button);
    const fields = {
      type: "button", "aria-pressed": String(isMine), onclick: () => actions.react?.(entry, reaction), onpointerenter: who, onfocus: who,
    };
    const button = make(isMine ? "button.reaction.is-mine" : "button.reaction", fields, make("bdi", {}, reaction),
      make("span.count", {}, String(count)), make("span.hidden", {}, isMine ? ", one of them yours" : ""));
    row.append(button);
  }
  return row;
}

/** @param {Entry} entry @param {any} actions */
function tools(entry, actions) {
  const tool = (/** @type {string} */ label, /** @type {string} */ sign, /** @type {(element: Element) => void} */ act) => {
    const fields = { type: "button", tabindex: "-1", title: label, "aria-label": `${label}: ${entry.from}`,
      onclick: (/** @type {Event} */ event) => act(/** @type {Element} */ (event.currentTarget)) };
    return make("button.tool", fields, make("span", { "aria-hidden": "true" }, sign));
  };
  return make("div.tools", {}, tool("Reply", "↩", () => actions.reply?.(entry)), tool("Message menu", "⋯", (at) => actions.menu?.(entry, at)));
}

/**
 * A message. @param {Entry} entry @param {{isFirst: boolean, me: string, room: string}} how @param {any} actions
 * @returns {HTMLElement}
 */
export function message(entry, { isFirst, me, room }, actions) {
  const name = entry.from ?? "";
  const text = entry.text ?? "";
  const isAction = text.startsWith("/me ");
  const stamp = make("time", { datetime: entry.at, title: whole(entry.at) }, time(entry.at));
  const row = make("article.row.message", { id: `m-${entry.seq}`, tabindex: "-1", "aria-label": `${entry.display || name}, ${time(entry.at)}` });
  for (const [key, on] of Object.entries({ "is-first": isFirst, "is-mine": name === me, "is-action": isAction, "is-erased": entry.erased })) {
    row.classList.toggle(key, Boolean(on));
  }
  const body = make("div.body");
  if (isFirst) body.append(make("header.by", {}, ...author({ name, display: entry.display, bot: entry.bot }, actions), stamp));
  if (entry.re) body.append(quoted(entry, actions));
  if (entry.erased) body.append(make("div.text", {}, make("em", {}, "This message was erased.")));
  else body.append(words(isAction ? `${entry.display || name} ${text.slice(4)}` : text, me, actions));
  if (entry.edited && !entry.erased) body.append(make("span.edited", {}, "(edited)"));
  const marks = reactions(entry, actions);
  if (marks) body.append(marks);
  if (entry.replies) {
    const label = entry.replies === 1 ? "1 reply" : `${entry.replies} replies`;
    body.append(make("button.thread", { type: "button", onclick: () => actions.thread?.(entry) }, label));
  }
  const link = make("a.short", { href: place(room, entry.seq), tabindex: "-1", "aria-hidden": "true", title: whole(entry.at) }, time(entry.at));
  row.append(make("div.gutter", {}, isFirst ? avatar(name, entry.display) : link), body);
  row.classList.toggle("is-me-mentioned", name !== me && body.querySelector(".mention.is-me") !== null);
  if (!entry.erased) row.append(tools(entry, actions));
  return row;
}

/** What else happened, in words; null if it is not shown. @param {Entry} entry */
export function happened(entry) {
  const { name, by, to, reason } = entry;
  const who = by ?? "The server";
  const because = reason ? `: ${reason}` : "";
  switch (entry.event) {
    case "joined": return `${name} joined`;
    case "left": return `${name} left`;
    case "created": return `${who} created the room`;
    case "deleted": return `${who} deleted the room`;
    case "topic": return entry.text ? `${who} set the topic: ${entry.text}` : `${who} removed the topic`;
    case "kicked": return `${who} removed ${name}${because}`;
    case "banned": return `${who} banned ${name}${because}`;
    case "unbanned": return `${who} lifted the ban of ${name}`;
    case "muted": return `${who} muted ${name}${entry.until ? ` until ${whole(entry.until)}` : ""}`;
    case "unmuted": return `${who} lets ${name} speak again`;
    case "role": return `${who} made ${name} ${entry.role}`;
    case "renamed": return name === to ? `${to} is now called ${entry.display ?? to}` : `${name} is now called ${to}`;
    case "pinned": return `${who} pinned a message`;
    case "unpinned": return `${who} unpinned a message`;
    case "set": {
      const { past, invites, pace } = entry;
      const what = [pace === 0 ? "no pace" : pace && `one message every ${pace} s`, invites && `${invites} may invite`,
        past && (past === "open" ? "new members may read everything" : "new members may read what comes after they join")];
      return `${who} changed the room: ${what.filter(Boolean).join("; ")}`;
    }
    default: return null;
  }
}

/** @param {Entry} entry @param {any} actions */
export function event(entry, actions) {
  const body = make("div.body", {}, make("bdi", {}, happened(entry) ?? ""), " ", make("time", { datetime: entry.at }, time(entry.at)));
  const row = make("div.row.event", { id: `m-${entry.seq}`, tabindex: "-1" }, body);
  if (entry.of) body.append(" ", make("button.link", { type: "button", onclick: () => actions.jump?.(entry.of) }, "Show it"));
  return row;
}

/** What is not stored yet. @param {Item} item @param {string} status @param {any} client @param {string} me @returns {HTMLElement} */
export function pending(item, status, client, me) {
  const row = make("article.row.message.pending", { tabindex: "-1", "aria-label": `${me}, ${status}`, "data-item": item.id });
  const line = make("div.status", {}, make("span", {}, status));
  const body = make("div.body", {}, item.kind === "edit" ? make("span.edited", {}, `Change of message #${item.of}`) : null,
    words(item.text, me, {}), line);
  if (item.state === "refused") {
    row.classList.add("is-refused");
    const button = (/** @type {string} */ label, /** @type {() => void} */ act) => make("button.link", { type: "button", onclick: act }, label);
    line.append(button("Try again", () => client.resend(item.id, item.text).catch(() => {})), button("Edit", () => change(body, item, client)),
      button("Discard", () => client.discard(item.id)));
  } else if (item.state === "waiting") {
    line.append(make("button.link", { type: "button", onclick: () => client.discard(item.id) }, "Discard"));
  }
  row.append(make("div.gutter"), body);
  return row;
}

/** Lets the person change a refused item in its place. @param {HTMLElement} body @param {Item} item @param {any} client */
function change(body, item, client) {
  const box = /** @type {HTMLTextAreaElement} */ (make("textarea", { rows: "3", "aria-label": "Your message" }));
  const fault = make("p.status", { role: "alert" });
  const send = () => client.resend(item.id, box.value).catch((/** @type {any} */ why) => { fault.textContent = why.text ?? String(why); });
  box.value = item.text;
  body.replaceChildren(box, fault, make("button.link", { type: "button", onclick: send }, "Send"),
    make("button.link", { type: "button", onclick: () => client.discard(item.id) }, "Discard"));
  box.focus();
}
