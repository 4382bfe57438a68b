// A model of the server in a few lines: one room, ids, edits, reactions, reply counts, epochs left out.

export class Town {
  constructor(random) {
    this.random = random;
    this.log = [];
    this.ids = new Map();
    this.ears = new Set();
  }

  get head() {
    return this.log.length;
  }

  add(fields) {
    const entry = { room: "books", room_id: 1, at: new Date(1e12 + this.head * 1000).toISOString(), seq: this.head + 1, ...fields };
    this.log.push(entry);
    for (const ear of this.ears) ear(entry);
    return entry.seq;
  }

  say(from, text, { id, re } = {}) {
    const key = `${from} ${id}`;
    if (id && this.ids.has(key)) return this.ids.get(key);
    const seq = this.add({ event: "message", from, text, ...(re ? { re } : {}), ...(id ? { id } : {}) });
    if (id) this.ids.set(key, seq);
    return seq;
  }

  message(seq) {
    const entry = this.log[seq - 1];
    return entry?.event === "message" && !this.now(seq).erased ? entry : null;
  }

  edit(seq, text) {
    const entry = this.message(seq);
    if (entry) this.add({ event: "edited", of: seq, by: entry.from, text });
  }

  erase(seq) {
    const entry = this.message(seq);
    if (entry) this.add({ event: "erased", of: seq, by: entry.from });
  }

  react(by, seq, reaction, remove = false) {
    if (!this.message(seq) || this.givers(seq, reaction).has(by) !== remove) return;
    const count = this.givers(seq, reaction).size + (remove ? -1 : 1);
    this.add({ event: remove ? "unreacted" : "reacted", of: seq, by, reaction, count });
  }

  givers(seq, reaction, upto = this.head) {
    const found = new Set();
    for (const { event, of, by, reaction: one } of this.log.slice(seq, upto)) {
      if (of !== seq || one !== reaction) continue;
      if (event === "reacted") found.add(by);
      else if (event === "unreacted") found.delete(by);
    }
    return found;
  }

  /** A message as it is after the entry `upto`, as `history` shows it to `me`. */
  now(seq, me = "", upto = this.head) {
    const { id, ...entry } = this.log[seq - 1];
    if (entry.event !== "message") return entry;
    for (const later of this.log.slice(seq, upto)) {
      if (later.event === "edited" && later.of === seq) Object.assign(entry, { text: later.text, edited: true });
      if (later.event === "erased" && later.of === seq) entry.erased = true;
    }
    const isErased = (other) => this.log.slice(0, upto).some((one) => one.event === "erased" && one.of === other);
    const replies = this.log.slice(0, upto).filter((one) => one.re === seq && !isErased(one.seq)).length;
    if (replies) entry.replies = replies;
    if (entry.erased) {
      delete entry.text;
      delete entry.edited;
      return entry;
    }
    const sums = {};
    const mine = [];
    for (const one of new Set(this.log.filter((later) => later.of === seq && later.reaction).map((later) => later.reaction))) {
      const givers = this.givers(seq, one, upto);
      if (givers.size) sums[one] = givers.size;
      if (givers.has(me)) mine.push(one);
    }
    if (Object.keys(sums).length) entry.reactions = sums;
    if (mine.length) entry.mine = mine;
    return entry;
  }

  page(from, to, me, upto = this.head) {
    const entries = [];
    for (let seq = Math.max(1, from); seq <= Math.min(to, upto); seq += 1) entries.push(this.now(seq, me, upto));
    return { from: Math.max(1, from), to: Math.min(to, upto), entries, as_of: upto };
  }

  /** Something that somebody does. */
  act() {
    const { random } = this;
    const pick = (list) => list[Math.floor(random() * list.length)];
    const who = pick(["ana", "bob", "mia"]);
    const seq = Math.max(1, this.head - Math.floor(random() * 12));
    const chance = random();
    if (chance < 0.4) this.say(who, pick(["words", "for mia", "(MIA)!", "miax"]));
    else if (chance < 0.55) this.say(who, pick(["yes", "no"]), this.message(seq) ? { re: seq } : {});
    else if (chance < 0.7) this.edit(seq, pick(["changed", "changed for mia"]));
    else if (chance < 0.78) this.erase(seq);
    else if (chance < 0.95) this.react(who, seq, pick(["+1", "❤"]), random() < 0.4);
    else this.add({ event: "joined", name: "cai" });
  }
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32's scheme). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
