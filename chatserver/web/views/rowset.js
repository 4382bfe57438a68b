// The rows of the list of messages: puts them in order, makes again only those that changed, and keeps one of them in its
// place while others come and go. Knows nothing of rooms.

/** @typedef {import("../core/types.js").Entry} Entry */
/**
 * What a row is made from. It is made again when `sig` or `entry` is another one.
 * @typedef {{key: string, sig: string, seq?: number, entry?: Entry, make: () => HTMLElement}} Row
 * @typedef {Row & {node: HTMLElement}} Made
 */

export class Rows {
  /** @param {HTMLElement} scroller @param {HTMLElement} list */
  constructor(scroller, list) {
    this.scroller = scroller;
    this.list = list;
    /** @type {Map<string, Made>} in order */
    this.made = new Map();
    /** @type {WeakMap<Element, Made>} */
    this.byNode = new WeakMap();
    /** @type {{key: string, seq: number, bottom: number}|null} the row that keeps its place, and where its lower edge is */
    this.anchor = null;
    /** The row that the Tab key leads to. @type {HTMLElement|null} */
    this.current = null;
  }

  clear() {
    this.list.replaceChildren();
    this.made.clear();
    this.anchor = this.current = null;
  }

  /** Shows these rows. @param {Row[]} rows @param {boolean} isStuck whether the end stays in view */
  put(rows, isStuck) {
    const kept = new Set(rows.map((row) => row.key));
    if (!isStuck) this.anchor = this.#chosen(kept);
    /** @type {Map<string, Made>} */
    const made = new Map();
    let next = this.list.firstElementChild;
    for (const [key, { node }] of this.made) {
      if (kept.has(key)) continue;
      if (node === next) next = next.nextElementSibling;
      node.remove();
    }
    for (const row of rows) {
      const former = this.made.get(row.key);
      let one = former;
      if (!former || former.sig !== row.sig || former.entry !== row.entry) {
        one = { ...row, node: row.make() };
        this.byNode.set(one.node, one);
        if (former) {
          this.#replace(former.node, one.node);
          if (former.node === next) next = one.node;
          former.node.remove();
        }
      }
      const { node } = /** @type {Made} */ (one);
      if (node === next) next = node.nextElementSibling;
      else this.list.insertBefore(node, next);
      made.set(row.key, /** @type {Made} */ (one));
    }
    this.made = made;
    if (!this.current?.isConnected) this.#tabTo(/** @type {HTMLElement|null} */ (this.list.querySelector(".message:last-child") ?? this.list.lastElementChild));
    this.restore(isStuck);
  }

  /** Puts the row that keeps its place back there, or the end. @param {boolean} isStuck */
  restore(isStuck) {
    const { scroller } = this;
    if (isStuck) scroller.scrollTop = scroller.scrollHeight;
    else if (this.anchor) {
      const one = this.made.get(this.anchor.key);
      const moved = one ? this.#bottom(one.node) - this.anchor.bottom : 0;
      if (moved) scroller.scrollTop += moved;
    }
  }

  /** The row that is in its place now keeps it from here on. */
  remember() {
    this.anchor = this.#chosen();
  }

  /** The row at the upper edge. @returns {Made|undefined} */
  first() {
    const all = [...this.made.values()];
    return all[this.#visible(all, true)];
  }

  /** The number of the last entry that is wholly visible; 0: none. */
  last() {
    const bottom = this.scroller.clientHeight + 2;
    let found = 0;
    for (const one of [...this.made.values()].reverse()) {
      if (!one.seq) continue;
      const top = this.#offset(one.node);
      if (top + one.node.offsetHeight <= bottom || (top <= 0 && top + one.node.offsetHeight > 0)) {
        found = top + one.node.offsetHeight > 0 ? one.seq : 0;
        break;
      }
    }
    return found;
  }

  /** The row of an entry. @param {number} seq @returns {HTMLElement|null} */
  at(seq) {
    const one = this.made.get(`m ${seq}`);
    if (one) return one.node;
    for (const other of this.made.values()) if ((other.seq ?? 0) > seq) return other.node;
    return null;
  }

  /** @param {Element} node @returns {Entry|undefined} */
  entry(node) {
    return this.byNode.get(node)?.entry;
  }

  /** Moves the focus up or down. @param {number} step */
  move(step) {
    const at = document.activeElement?.closest(".row") ?? this.current;
    let next = at;
    do next = step < 0 ? next?.previousElementSibling ?? null : next?.nextElementSibling ?? null;
    while (next && !next.hasAttribute("tabindex"));
    this.focus(/** @type {HTMLElement|null} */ (next ?? at));
  }

  focusLast() {
    const all = this.list.querySelectorAll(".row[tabindex]");
    this.focus(/** @type {HTMLElement} */ (all[all.length - 1]) ?? null);
  }

  /** @param {HTMLElement|null} row */
  focus(row) {
    if (!row) return;
    this.#tabTo(row);
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  /** @param {HTMLElement|null} row */
  #tabTo(row) {
    this.current?.setAttribute("tabindex", "-1");
    this.current = row;
    row?.setAttribute("tabindex", "0");
  }

  /** The focus goes over to a row that is made again. @param {HTMLElement} former @param {HTMLElement} node */
  #replace(former, node) {
    this.list.insertBefore(node, former);
    if (former.classList.contains("is-target")) node.classList.add("is-target");
    if (this.current === former) this.#tabTo(node);
    if (former.contains(document.activeElement)) node.focus({ preventScroll: true });
  }

  /**
   * What is to keep its place: the row under the pointer, or else the first that is wholly visible. Never a separator, which
   * moves when rows come above it. It is the lower edge that stays, since a row loses its author when more of the same come
   * above it. @param {Set<string>} [kept] the rows among which it has to be
   */
  #chosen(kept) {
    const { clientHeight } = this.scroller;
    const isFit = (/** @type {Made|undefined} */ one) => Boolean(one?.seq && (!kept || kept.has(one.key)));
    const hovered = this.list.querySelector(":scope > :hover");
    let one = hovered ? this.byNode.get(hovered) : undefined;
    if (!isFit(one) || !one || this.#offset(one.node) < 0 || this.#bottom(one.node) > clientHeight) {
      const all = [...this.made.values()];
      one = all.slice(this.#visible(all, false)).find(isFit) ?? all.findLast(isFit);
    }
    return one ? { key: one.key, seq: one.seq ?? 0, bottom: this.#bottom(one.node) } : null;
  }

  /** @param {HTMLElement} node */
  #offset(node) {
    return node.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
  }

  /** @param {HTMLElement} node */
  #bottom(node) {
    return this.#offset(node) + node.offsetHeight;
  }

  /** Where the first row is of which all, or a part, can be seen. @param {Made[]} all @param {boolean} isPartly */
  #visible(all, isPartly) {
    let low = 0;
    let high = all.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      const top = this.#offset(all[middle].node);
      if (isPartly ? top + all[middle].node.offsetHeight > 0 : top >= 0) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
