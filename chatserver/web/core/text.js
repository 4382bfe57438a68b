// The text of a message becomes pieces: links, code, emphasis, lists, quotes, mentions. Pieces are data, never HTML; whoever
// shows them makes text nodes. Each scan is bounded, so that hostile texts cost no more than others.

/**
 * @typedef {{kind: "text", text: string} | {kind: "code", text: string} | {kind: "link", text: string, href: string}
 *   | {kind: "mention", text: string, name: string, me: boolean} | {kind: "em"|"strong"|"strike", pieces: Piece[]}} Piece
 * @typedef {{kind: "lines", lines: Piece[][]} | {kind: "fence", text: string} | {kind: "quote", lines: Piece[][]}
 *   | {kind: "list", items: Piece[][], start: number}} Block
 */

/** Maximum number of characters between the signs of emphasis or code. */
const REACH = 1000;
/** Maximum number of pieces of emphasis inside each other. */
const DEPTH = 3;
const LINK = /https?:\/\/[^\s<>"`\u0000-\u001f]{1,2000}/iy;
const WORD = /@?[\p{L}\p{N}_~-]+/uy;
const LIST = /^\s{0,3}(?:[-*•]|(\d{1,9})[.)])\s+(.*)$/u;
/** @type {Record<string, "em"|"strong"|"strike">} */
const SIGNS = { "**": "strong", "~~": "strike", "*": "em", _: "em" };
const EMOJI = /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\p{Regional_Indicator}|[\u200d\ufe0f\u20e3]|[#*0-9](?=\ufe0f?\u20e3))+$/u;

/** Whether a text is nothing but a few emoji, which are shown large. @param {string} text */
export function isEmojiOnly(text) {
  const bare = text.replace(/\s+/g, "");
  return bare.length > 0 && bare.length <= 40 && EMOJI.test(bare) && /\p{Extended_Pictographic}|\p{Regional_Indicator}|\u20e3/u.test(bare);
}

/** @param {string} text @param {string} [me] one's own name @returns {Block[]} */
export function blocks(text, me = "") {
  /** @type {Block[]} */
  const found = [];
  const lines = text.split("\n");
  /** @param {string} line */
  const inline = (line) => pieces(line, me);
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    const last = found[found.length - 1];
    const fence = line.startsWith("```") ? lines.indexOf("```", at + 1) : -1;
    const item = LIST.exec(line);
    if (fence > at) {
      found.push({ kind: "fence", text: lines.slice(at + 1, fence).join("\n") });
      at = fence;
    } else if (line.startsWith("> ") || line === ">") {
      if (last?.kind === "quote") last.lines.push(inline(line.slice(2)));
      else found.push({ kind: "quote", lines: [inline(line.slice(2))] });
    } else if (item) {
      const start = item[1] === undefined ? 0 : Number(item[1]) || 1;
      if (last?.kind === "list" && last.start > 0 === start > 0) last.items.push(inline(item[2]));
      else found.push({ kind: "list", items: [inline(item[2])], start });
    } else if (last?.kind === "lines") last.lines.push(inline(line));
    else found.push({ kind: "lines", lines: [inline(line)] });
  }
  return found;
}

/** @param {Piece[]} list @returns {string} */
const bare = (list) => list.map((piece) => ("pieces" in piece ? bare(piece.pieces) : piece.text)).join("");

/** A text without the signs of emphasis and code, for where there is room for words only. @param {string} text */
export const plain = (text) => text.split("\n").filter((line) => !line.startsWith("```")).map((line) => bare(pieces(line))).join("\n");

/** One line. @param {string} line @param {string} [me] @param {number} [depth] @returns {Piece[]} */
export function pieces(line, me = "", depth = 0) {
  /** @type {Piece[]} */
  const found = [];
  const name = me.toLowerCase();
  let plain = "";
  let at = 0;
  const flush = () => {
    if (plain) found.push({ kind: "text", text: plain });
    plain = "";
  };
  /** @param {Piece} piece @param {number} length */
  const take = (piece, length) => {
    flush();
    found.push(piece);
    at += length;
  };
  while (at < line.length) {
    const sign = SIGNS[line.slice(at, at + 2)] ? line.slice(at, at + 2) : line[at];
    const url = (line[at] === "h" || line[at] === "H") && link(line, at);
    if (url) {
      take(url, url.text.length);
    } else if (sign === "`") {
      const end = close(line, at + 1, "`");
      if (end > at + 1) take({ kind: "code", text: line.slice(at + 1, end) }, end + 1 - at);
      else plain += line[at++];
    } else if (SIGNS[sign]) {
      const end = depth < DEPTH && opens(line, at, sign) ? ends(line, at + sign.length, sign) : -1;
      if (end > 0) {
        take({ kind: SIGNS[sign], pieces: pieces(line.slice(at + sign.length, end), me, depth + 1) }, end + sign.length - at);
      } else {
        plain += sign;
        at += sign.length;
      }
    } else {
      const word = match(WORD, line, at);
      const bare = word.replace(/^@/, "");
      const end = bare.replace(/([^_-])[_-]{1,64}$/, "$1").toLowerCase();
      const isMe = name !== "" && (bare.toLowerCase() === name || end === name);
      if (word && (isMe || /^@[A-Za-z~]/.test(word))) take({ kind: "mention", text: word, name: isMe ? me : bare, me: isMe }, word.length);
      else {
        const step = word || String.fromCodePoint(/** @type {number} */ (line.codePointAt(at)));
        plain += step;
        at += step.length;
      }
    }
  }
  flush();
  return found;
}

/** @param {RegExp} pattern @param {string} line @param {number} at */
function match(pattern, line, at) {
  pattern.lastIndex = at;
  return pattern.exec(line)?.[0] ?? "";
}

/** @param {string} line @param {number} at @returns {{kind: "link", text: string, href: string}|null} */
function link(line, at) {
  let text = match(LINK, line, at);
  if (!text || (at > 0 && /[\p{L}\p{N}]/u.test(line[at - 1]))) return null;
  // What ends a sentence, or closes a bracket that was opened before the link, is not of the link.
  for (;;) {
    const last = text[text.length - 1];
    const opening = { ")": "(", "]": "[", "}": "{" }[last];
    if (opening ? text.includes(opening) : !/[.,:;!?'*_~»”’]/.test(last)) break;
    text = text.slice(0, -1);
  }
  try {
    const url = new URL(text);
    const isWeb = url.protocol === "http:" || url.protocol === "https:";
    // `https://bank.example@evil.example` leads to the latter: that is shown, but no link.
    return isWeb && !url.username && !url.password ? { kind: "link", text, href: url.href } : null;
  } catch {
    return null;
  }
}

/** @param {string} line @param {number} from @param {string} sign */
function close(line, from, sign) {
  return line.slice(from, from + REACH).indexOf(sign) + from;
}

/** Whether emphasis may begin here: before a word, and not within one. @param {string} line @param {number} at @param {string} sign */
function opens(line, at, sign) {
  const next = line[at + sign.length];
  return Boolean(next) && !/[\s*_~]/.test(next) && (at === 0 || !/[\p{L}\p{N}]/u.test(line[at - 1]));
}

/** Where emphasis ends, or -1. @param {string} line @param {number} from @param {string} sign */
function ends(line, from, sign) {
  const upto = Math.min(line.length, from + REACH);
  for (let at = line.indexOf(sign, from + 1); at >= 0 && at < upto; at = line.indexOf(sign, at + 1)) {
    const after = line[at + sign.length] ?? " ";
    if (!/[\s]/.test(line[at - 1]) && !/[\p{L}\p{N}]/u.test(after) && after !== sign[0]) return at;
  }
  return -1;
}
