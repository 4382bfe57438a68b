// The badge of one room, kept from events by the rules of docs/protocol.md, "Keeping a badge".

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {{seq: number, read: number, messages?: number, mentions?: number, first?: number, partial?: boolean}} Counts */

/** Maximum number of messages whose authors a room remembers, to know who is answered. */
const MOST_KNOWN = 5000;

/** Upper and lower case made equal, nearly as Python's str.casefold does; exact for ASCII names. @param {string} text */
const fold = (text) => text.replace(/[^ı]+/g, (part) => part.toUpperCase().toLowerCase());

/** Whether a text has this name as a word. @param {string} text @param {string} name */
export function mentions(text, name) {
  const wanted = name.toLowerCase();
  for (const [word] of fold(text).matchAll(/[\p{L}\p{N}_~-]+/gu)) {
    if (word === wanted) return true;
    if (word.length <= wanted.length || word.indexOf(wanted) < 0) continue;
    if (word.replace(/^[_-]+/, "").replace(/([^_-])[_-]+$/, "$1") === wanted) return true;
  }
  return false;
}

export class Badge {
  /** @param {Counts} counts @param {string} me the name that one has in this room */
  constructor(counts, me) {
    this.me = me;
    this.begin = counts.seq;
    /** @type {Map<number, number|undefined>} by message, the one that it answers */
    this.answered = new Map();
    /** @type {Set<number>} */
    this.mine = new Set();
    /** Whether the numbers have to be asked for again. */
    this.stale = false;
    /** @type {Map<number, boolean>} what is new behind the numbers of the answer: whether each is a mention */
    this.fresh = new Map();
    this.upto = this.read = this.messages = this.mentions = 0;
    /** @type {number|undefined} */
    this.first = undefined;
    this.count(counts);
  }

  /** An answer replaces all numbers. @param {Counts} counts */
  count(counts) {
    this.upto = counts.seq;
    this.read = counts.read;
    this.messages = counts.messages ?? 0;
    this.mentions = counts.mentions ?? 0;
    this.first = counts.first;
    this.fresh = new Map();
  }

  /** @returns {{read: number, messages: number, mentions: number, first: number|undefined}} */
  now() {
    let mentioned = this.mentions;
    let first = this.first;
    for (const [seq, mention] of this.fresh) {
      if (mention) mentioned += 1;
      if (this.first === undefined && (first === undefined || seq < first)) first = seq;
    }
    return { read: this.read, messages: this.messages + this.fresh.size, mentions: mentioned, first };
  }

  /** Remembers authors and names. Each entry once, in order. @param {Entry} entry */
  learn(entry) {
    if (entry.seq <= this.begin) return;
    if (entry.event === "message") {
      this.answered.set(entry.seq, entry.re);
      if (entry.from === this.me) this.mine.add(entry.seq);
      if (this.answered.size > MOST_KNOWN) {
        const [oldest] = this.answered.keys();
        this.answered.delete(oldest);
        this.mine.delete(oldest);
      }
    } else if (entry.event === "renamed" && entry.name === this.me && entry.to) {
      this.me = entry.to;
    }
  }

  /** @param {number} seq the read mark @param {boolean} [isBack] whether it is there, wherever it was */
  mark(seq, isBack) {
    if (isBack) {
      this.read = seq;
      this.stale = true;
    } else if (seq >= this.upto) {
      this.messages = this.mentions = 0;
      this.first = undefined;
    } else if (this.first !== undefined && this.first <= seq) {
      this.stale = true;
    }
    this.read = Math.max(this.read, seq);
    for (const one of [...this.fresh.keys()]) if (one <= this.read) this.fresh.delete(one);
  }

  /** Counts an entry, after `learn`; also again, after `count`. @param {Entry} entry @param {Set<string>} ignored */
  entry(entry, ignored) {
    if (entry.seq <= this.upto) return;
    const of = entry.of ?? 0;
    const isNew = this.fresh.has(of);
    if (entry.event === "message") {
      const author = entry.from ?? "";
      if (entry.seq > this.read && !entry.erased && author !== this.me && !ignored.has(author)) {
        this.fresh.set(entry.seq, this.#isMention(entry.seq, entry.text ?? ""));
      }
    } else if (entry.event === "edited" && isNew && entry.text !== undefined) {
      this.fresh.set(of, this.#isMention(of, entry.text));
    } else if (entry.event === "erased" && isNew) {
      this.fresh.delete(of);
    } else if (entry.event === "edited" || entry.event === "erased") {
      const counted = this.first !== undefined && Math.max(this.first, this.read + 1) <= of && of <= this.upto;
      if (isNew || counted) this.stale = true;
    }
  }

  /** @param {number} seq @param {string} text */
  #isMention(seq, text) {
    const answered = this.answered.get(seq);
    if (answered !== undefined && !this.answered.has(answered)) this.stale = true;
    return mentions(text, this.me) || (answered !== undefined && this.mine.has(answered));
  }
}
