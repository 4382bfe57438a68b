// Pages of `history`: fetched once, and put among the entries that are in memory.

import { refusal } from "./line.js";

/** @typedef {import("./core/types.js").Room} Room */
/** @typedef {import("./core/types.js").Run} Run */
/** @typedef {{before?: number, after?: number, around?: number, newest?: boolean, since?: string}} Place */

/** Number of entries of a page. */
const PAGE = 100;

export class Pages {
  /** @param {import("./client.js").Chat} chat */
  constructor(chat) {
    this.chat = chat;
    /** @type {Map<string, Promise<Run|null>>} on their way */
    this.pages = new Map();
  }

  /** The connection has ended, and with it what was on its way. */
  clear() {
    this.pages.clear();
  }

  /**
   * Fetches a page into memory, unless it is there. @param {Room} room
   * @param {Place} place
   * @returns {Promise<Run|null>}
   */
  load(room, place) {
    const { before, after, around, since } = place;
    const there = before ? room.runs.at(before - 1) : after !== undefined ? room.runs.at(after + 1) : around ? room.runs.at(around) : null;
    const found = since ? null : there ?? (before || after !== undefined || around ? null : room.runs.newest());
    if (found || (before && before <= 1)) return Promise.resolve(found);
    const key = JSON.stringify([room.id, place]);
    let page = this.pages.get(key);
    if (!page) {
      page = this.#fetch(room, place).finally(() => this.pages.delete(key));
      this.pages.set(key, page);
    }
    return page;
  }

  /** @param {Room} room @param {Place} place */
  async #fetch(room, { before, after, around, since }) {
    if (this.chat.state.phase !== "online") throw refusal("offline", "This is not on this device, and there is no connection.");
    const upto = around ? around + PAGE / 2 : before;
    const command = { cmd: "history", room: room.label, limit: PAGE, quotes: true,
      ...(upto ? { before: upto } : after !== undefined ? { after } : since ? { since } : {}) };
    /** @type {Run|null} */
    let run = null;
    await this.chat.line.send(command, {
      taken: (answer) => {
        const { entries, more, gap, as_of } = answer;
        if (!this.chat.room(room.id)) return;
        const first = entries[0]?.seq ?? 0;
        const last = entries[entries.length - 1]?.seq ?? 0;
        const backwards = after === undefined && !since;
        const to = upto && last ? Math.max(last, Math.min(upto - 1, room.head)) : last;
        const from = after !== undefined && first ? Math.min(first, after + 1) : first;
        if (first) run = room.runs.add({ from, to, entries, as_of, top: Boolean(gap) || (backwards && !more) });
        else if (upto) {
          const above = room.runs.at(upto);
          if (above) above.top = true;
        }
      },
    });
    this.chat.changed();
    return run;
  }
}
