import assert from "node:assert/strict";
import { test } from "node:test";
import { find, score } from "../../../chatserver/web/core/search.js";
import { blocks, isEmojiOnly, pieces, plain } from "../../../chatserver/web/core/text.js";

const links = (text) => pieces(text).filter((piece) => piece.kind === "link").map((piece) => piece.text);
/** All text of pieces, without the signs of emphasis and code. */
const flat = (list) => list.map((piece) => (piece.pieces ? flat(piece.pieces) : piece.text)).join("");

test("Only http and https become links, without what ends the sentence.", () => {
  assert.deepEqual(links("See https://example.org/a_(b), or (http://x.example/y)."), ["https://example.org/a_(b)", "http://x.example/y"]);
  for (const text of ["javascript:alert(1)", "data:text/html,x", "file:///etc", "vbscript:x", "ftp://x.example", "xhttps://x", "https://",
    "https://bank.example@evil.example/"]) assert.deepEqual(links(text), [], text);
  assert.deepEqual(links('https://x.example/"onclick="x'), ["https://x.example/"]);
});

test("Code, emphasis and mentions are found where people mean them, and nowhere else.", () => {
  const kinds = (text, me) => pieces(text, me).map((piece) => piece.kind + (piece.me ? "!" : ""));
  assert.deepEqual(kinds("a *b* **c** _d_ ~~e~~ `f*g*`"), ["text", "em", "text", "strong", "text", "em", "text", "strike", "text", "code"]);
  for (const text of ["2*3*4", "snake_case_name", "* alone", "a ** b", "`", "**", "~ana"]) assert.deepEqual(kinds(text), ["text"], text);
  assert.deepEqual(kinds("@bob and Ana, ana_", "ana"), ["mention", "text", "mention!", "text", "mention!"]);
  assert.deepEqual(kinds("anax ana-bee", "ana"), ["text"]);
});

test("Lines become quotes, lists, fences and paragraphs.", () => {
  const text = "> said\n> more\nmy words\nand more\n- one\n- two\n1. first\n```\n*raw* <b>\n```\n```never closed";
  assert.deepEqual(blocks(text).map((block) => block.kind), ["quote", "lines", "list", "list", "fence", "lines"]);
  assert.equal(blocks(text)[4].text, "*raw* <b>");
});

test("A few emoji alone are shown large; digits and words are not emoji.", () => {
  for (const text of ["👍", "❤️ 🎉", "👩‍👩‍👧", "🇩🇪", "1️⃣"]) assert.ok(isEmojiOnly(text), text);
  for (const text of ["1", "*", "👍 ok", "", "#"]) assert.ok(!isEmojiOnly(text), text);
});

test("Hostile texts lose nothing, and cost no more than others.", () => {
  const long = ["*", "_", "`", "**a ", "~~", "[", "https://", "https://a", "(", "> ", "@", "@a", "a*", "*a", "\u0301", "http", "_-", "😀", "\ud800", "h", "- "];
  const started = process.cpuUsage().user;
  for (const part of long) {
    const text = part.repeat(Math.ceil(4096 / part.length));
    assert.equal(flat(pieces(text)).replace(/[*_~`]/g, ""), text.replace(/[*_~`]/g, ""), part);
    blocks(`${part}\n`.repeat(1300), "ana");
    isEmojiOnly(text);
  }
  assert.ok(process.cpuUsage().user - started < 20e6);
});

test("The switcher finds names by their beginning, by parts, and by letters in order.", () => {
  const rooms = ["general", "release-1-1", "books", "bookkeeping", "@bob"];
  assert.equal(find("book", rooms, (one) => one)[0], "books");
  assert.equal(find("rel", rooms, (one) => one)[0], "release-1-1");
  assert.deepEqual(find("bkg", rooms, (one) => one), ["bookkeeping"]);
  assert.equal(find("@bo", rooms, (one) => one)[0], "@bob");
  assert.equal(score("é", "e"), 1000);
  assert.deepEqual(find("zzz", rooms, (one) => one), []);
});

test("Without signs, what is left are the words.", () => {
  assert.equal(plain("*Has* anybody `read` it,\n```\nx = 1\n```\n@ana? 2*3*4"), "Has anybody read it,\nx = 1\n@ana? 2*3*4");
});
