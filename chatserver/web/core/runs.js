// The entries of one room in memory: runs of neighbours, which join when they meet. Folds edits, erasures, reactions and
// replies into messages by the rules of docs/protocol.md, "Folded, or still to come". Entries are never changed in place:
// a message that changes is another object, so that views can compare by identity.

/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Run} Run */

/** Maximum number of runs of a room. */
const MOST_RUNS = 5;
/** Maximum number of entries of a run. */
const MOST_ENTRIES = 2000;
/** Number of entries that leave a run at once when it is full. */
const STEP = 500;

/** @param {Entry} entry */
export const isAct = (entry) => entry.of !== undefined && entry.event !== "message";

/**
 * The message after this act. @param {Entry} message @param {Entry} act @param {(name?: string) => boolean} isMe
 * @returns {Entry}
 */
export function folded(message, act, isMe) {
  const next = { ...message, known: act.seq };
  if (message.erased) return next;
  if (act.event === "edited") {
    next.edited = true;
    if (act.text !== undefined) next.text = act.text;
  } else if (act.event === "erased") {
    for (const field of /** @type {const} */ (["text", "reactions", "mine", "edited"])) delete next[field];
    next.erased = true;
  } else if ((act.event === "reacted" || act.event === "unreacted") && act.reaction !== undefined) {
    if (act.count !== undefined) {
      const sums = Object.entries(message.reactions ?? {}).filter(([one]) => one !== act.reaction || act.count);
      next.reactions = Object.fromEntries(sums);
      if (act.count) next.reactions[act.reaction] = act.count;
    }
    if (isMe(act.by)) {
      const others = (message.mine ?? []).filter((one) => one !== act.reaction);
      next.mine = act.event === "reacted" ? [...others, act.reaction] : others;
    }
  }
  return next;
}

export class Runs {
  /** @param {(name?: string) => boolean} isMe */
  constructor(isMe = () => false) {
    this.isMe = isMe;
    /** @type {Run[]} in order, with holes between them */
    this.list = [];
    this.head = 0;
    /** The last entry that came as an event. What pages have beyond it comes as events, too: only these are folded in. */
    this.live = 0;
    /** @type {Set<number>} replies that came as erased ones, and so count nowhere */
    this.uncounted = new Set();
    /** Maximum number of entries that live ones may fill; less for rooms that nobody looks at. */
    this.most = MOST_ENTRIES;
    /** @type {Run[]} those used last at the end */
    this.used = [];
  }

  /** The run that ends at the head of the room. @returns {Run|null} */
  newest() {
    const last = this.list[this.list.length - 1];
    return last && last.to >= this.head ? last : null;
  }

  /** The run with this number. @param {number} seq @returns {Run|null} */
  at(seq) {
    return this.list.find((run) => run.from <= seq && seq <= run.to) ?? null;
  }

  /** @param {number} seq @returns {Entry|null} */
  entry(seq) {
    const run = this.at(seq);
    const index = run ? indexOf(run.entries, seq) : -1;
    return run && index >= 0 ? run.entries[index] : null;
  }

  /** Takes an entry that came as an event, live or by a resume. @param {Entry} entry */
  append(entry) {
    const { seq } = entry;
    if (seq <= this.live) return;
    this.live = seq;
    this.head = Math.max(this.head, seq);
    if (!this.at(seq)) {
      const fresh = entry.event === "message" ? { ...entry, known: seq, replies: 0 } : entry;
      const { entries } = this.#join({ from: seq, to: seq, entries: [fresh], top: seq === 1 });
      if (entries.length > this.most) this.#shorten(this.list[this.list.length - 1], true);
    }
    if (isAct(entry)) this.#apply(entry);
    if (entry.event === "message" && entry.re) {
      if (entry.erased) this.uncounted.add(seq);
      else this.#reply(entry.re, seq, 1);
    }
    const lost = entry.event === "erased" ? this.entry(entry.of ?? 0) : null;
    if (lost?.re && !this.uncounted.has(lost.seq)) this.#reply(lost.re, seq, -1);
  }

  /**
   * Takes a page of `history`, which covers `from` to `to`.
   * @param {{from: number, to: number, entries: Entry[], top?: boolean, as_of: number}} page @returns {Run|null}
   */
  add(page) {
    this.head = Math.max(this.head, page.to);
    if (page.to < page.from) return null;
    const entries = page.entries.map((entry) => this.#current(entry, page.as_of));
    const run = this.#join({ from: page.from, to: page.to, entries, top: Boolean(page.top) || page.from <= 1 });
    if (run.entries.length > MOST_ENTRIES) this.#shorten(run, run.to - page.to < page.from - run.from);
    return run;
  }

  /** The entries before `first` were left out. What they did to older ones is not known: those are read again. @param {number} first */
  skipped(first) {
    this.list = this.used = [];
    this.live = first - 1;
    this.head = Math.max(this.head, first - 1);
  }

  /** The entries from `from` to `first` - 1 were removed. @param {number} from @param {number} first */
  removed(from, first) {
    this.head = Math.max(this.head, first - 1);
    this.live = Math.max(this.live, first - 1);
    if (first > from) this.#join({ from, to: first - 1, entries: [], top: true });
  }

  /** Drops what is above this number, which is lost. @param {number} common */
  cut(common) {
    this.list = this.list.filter((run) => run.from <= common);
    for (const run of this.list) {
      run.to = Math.min(run.to, common);
      run.entries = run.entries.filter((entry) => entry.seq <= common);
    }
    // What was folded in may come from lost entries, too: read those again.
    this.list = this.list.filter((run) => !run.entries.some((entry) => (entry.known ?? 0) > common && entry.known !== entry.seq));
    this.head = Math.min(this.head, common);
    this.live = Math.min(this.live, common);
  }

  /** A message of a page, with what is known beyond the page. @param {Entry} entry @param {number} as_of */
  #current(entry, as_of) {
    if (entry.event !== "message") return entry;
    const before = this.entry(entry.seq);
    if (before && (before.known ?? 0) > as_of) return before;
    let message = { ...entry, known: as_of };
    for (const run of this.list) {
      for (const later of run.entries.slice(after(run.entries, as_of))) {
        if (later.of === entry.seq && isAct(later)) message = { ...folded(message, later, this.isMe), known: later.seq };
        if (later.re === entry.seq && !later.erased) message.replies = (message.replies ?? 0) + 1;
        const lost = later.event === "erased" && later.of && later.of <= as_of ? this.entry(later.of) : null;
        if (lost && lost.re === entry.seq) message.replies = Math.max(0, (message.replies ?? 0) - 1);
      }
    }
    return message;
  }

  /** @param {Entry} act */
  #apply(act) {
    const message = this.entry(act.of ?? 0);
    if (message && message.event === "message" && (message.known ?? 0) < act.seq) this.#replace(folded(message, act, this.isMe));
  }

  /** @param {number} re @param {number} seq @param {number} step */
  #reply(re, seq, step) {
    const message = this.entry(re);
    if (!message || (message.known ?? 0) >= seq) return;
    this.#replace({ ...message, replies: Math.max(0, (message.replies ?? 0) + step) });
  }

  /** @param {Entry} entry */
  #replace(entry) {
    const run = this.at(entry.seq);
    const index = run ? indexOf(run.entries, entry.seq) : -1;
    if (run && index >= 0) run.entries[index] = entry;
  }

  /** Puts a run among the others, and joins it with those that it meets. @param {Run} run @returns {Run} */
  #join(run) {
    const met = this.list.filter((one) => one.from <= run.to + 1 && run.from <= one.to + 1);
    let into = run;
    if (met.length === 1 && met[0].to + 1 === run.from) {
      into = met[0]; // what comes live: no copy of all entries
      into.entries.push(...run.entries);
      into.to = run.to;
    } else if (met.length) {
      const below = met.flatMap((one) => one.entries.filter((entry) => entry.seq < run.from));
      const above = met.flatMap((one) => one.entries.filter((entry) => entry.seq > run.to));
      into = met[0];
      into.top = (met[0].from <= run.from ? met[0].top : false) || run.top;
      into.entries = [...below, ...run.entries, ...above];
      into.from = Math.min(run.from, ...met.map((one) => one.from));
      into.to = Math.max(run.to, ...met.map((one) => one.to));
      this.list = this.list.filter((one) => one === into || !met.includes(one));
    } else {
      this.list.push(run);
      this.list.sort((one, other) => one.from - other.from);
    }
    this.used = [...this.used.filter((one) => one !== into && this.list.includes(one)), into];
    while (this.list.length > MOST_RUNS) {
      const oldest = this.used.find((one) => one !== into && one !== this.newest()) ?? this.list[0];
      this.list = this.list.filter((one) => one !== oldest);
      this.used = this.used.filter((one) => one !== oldest);
    }
    return into;
  }

  /** @param {Run} run @param {boolean} front whether it loses its oldest entries */
  #shorten(run, front) {
    const keep = Math.max(1, Math.min(run.entries.length, front ? this.most : MOST_ENTRIES) - STEP);
    if (front) {
      run.entries = run.entries.slice(-keep);
      run.from = run.entries[0].seq;
      run.top = false;
    } else {
      run.entries = run.entries.slice(0, keep);
      run.to = run.entries[keep - 1].seq;
    }
  }
}

/** Where the entries behind this number begin. @param {Entry[]} entries @param {number} seq */
function after(entries, seq) {
  let at = entries.length;
  while (at > 0 && entries[at - 1].seq > seq) at -= 1;
  return at;
}

/** Where the entry of this number is in an ordered list, or -1. @param {Entry[]} entries @param {number} seq */
export function indexOf(entries, seq) {
  let low = 0;
  let high = entries.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (entries[middle].seq === seq) return middle;
    if (entries[middle].seq < seq) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
