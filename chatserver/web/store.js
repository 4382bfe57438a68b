// What this device keeps, in IndexedDB: the outbox, drafts, and the state of the page with the last entries of rooms.
// Never a password or a secret. Without IndexedDB (private windows of some browsers) all of it lasts as long as the page.

/** @typedef {import("./core/types.js").Item} Item */

const STORES = ["outbox", "drafts", "rooms", "page"];

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const result = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** @returns {Promise<Store>} */
export async function open() {
  try {
    const request = indexedDB.open("chat", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("outbox", { keyPath: "order", autoIncrement: true });
      for (const name of STORES.slice(1)) request.result.createObjectStore(name);
    };
    const db = await Promise.race([result(request), new Promise((_, reject) => setTimeout(reject, 3000))]);
    return new Store(/** @type {IDBDatabase} */ (db));
  } catch {
    return new Store(null);
  }
}

export class Store {
  /** @param {IDBDatabase|null} db */
  constructor(db) {
    this.db = db;
    /** @type {Map<string, any>} in place of the database */
    this.memory = new Map();
    this.order = 0;
  }

  /**
   * Does something in one transaction. @param {string[]} names @param {(stores: Record<string, IDBObjectStore>) => void} act
   * @param {{durability?: "strict"|"relaxed", whole?: boolean}} [how] `whole`: act reads nothing before it writes, so that
   * the transaction is done even if the page ends at once @returns {Promise<void>} once it is done
   */
  #write(names, act, {durability = "relaxed", whole = false} = {}) {
    const { db } = this;
    return new Promise((resolve, reject) => {
      if (!db) return resolve();
      const transaction = db.transaction(names, "readwrite", { durability });
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error("This device stores nothing."));
      act(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
      if (whole) transaction.commit();
    });
  }

  /**
   * Stores an item, on the disk when this resolves. A new one gets its place in the order of all tabs.
   * @param {Item} item @param {string} [draft] the key of the draft that it was, and that is none any more
   */
  async put(item, draft) {
    const { order, ...fresh } = { ...item, state: item.state === "sent" ? "waiting" : item.state };
    if (!this.db) {
      item.order = order || ++this.order;
      this.memory.set(item.id, item);
      return;
    }
    await this.#write(["outbox", "drafts"], ({ outbox, drafts }) => {
      const request = outbox.put(order ? { ...fresh, order } : fresh);
      request.onsuccess = () => { item.order = Number(request.result); };
      if (draft) drafts.delete(draft);
    }, { durability: "strict", whole: true });
  }

  /** Stores what has changed of items that are still there. @param {Item[]} items */
  async change(items) {
    await this.#write(["outbox"], ({ outbox }) => {
      for (const item of items) {
        const request = outbox.get(item.order);
        request.onsuccess = () => {
          if (request.result) outbox.put({ ...item, state: item.state === "sent" ? "waiting" : item.state });
        };
      }
    });
  }

  /** @param {Item} item */
  async remove(item) {
    this.memory.delete(item.id);
    await this.#write(["outbox"], ({ outbox }) => void outbox.delete(item.order), { whole: true });
  }

  /** All items, in order. @returns {Promise<Item[]>} */
  async items() {
    if (!this.db) return [...this.memory.values()];
    return result(this.db.transaction("outbox").objectStore("outbox").getAll());
  }

  /** Drafts by account and label. @returns {Promise<Map<string, string>>} */
  async drafts() {
    if (!this.db) return new Map();
    const drafts = this.db.transaction("drafts").objectStore("drafts");
    const [keys, values] = await Promise.all([result(drafts.getAllKeys()), result(drafts.getAll())]);
    return new Map(keys.map((key, index) => [String(key), String(values[index])]));
  }

  /** @param {string} key @param {string} text */
  async keepDraft(key, text) {
    await this.#write(["drafts"], ({ drafts }) => void (text ? drafts.put(text, key) : drafts.delete(key)), { whole: true });
  }

  /** The state of the page, and the entries of rooms by their id; null: there is none. @returns {Promise<{page: any, rooms: Map<number, any>}|null>} */
  async page() {
    if (!this.db) return null;
    const transaction = this.db.transaction(["page", "rooms"]);
    const page = result(transaction.objectStore("page").get("page"));
    const keys = result(transaction.objectStore("rooms").getAllKeys());
    const values = await result(transaction.objectStore("rooms").getAll());
    const rooms = new Map((await keys).map((key, index) => [Number(key), values[index]]));
    return (await page) ? { page: await page, rooms } : null;
  }

  /** Keeps the state of the page, and drops the rooms that are not among `keep`. @param {any} page @param {Map<number, any>} rooms @param {Set<number>} keep */
  async keepPage(page, rooms, keep) {
    await this.#write(["page", "rooms"], (stores) => {
      stores.page.put(page, "page");
      for (const [id, room] of rooms) stores.rooms.put(room, id);
      const request = stores.rooms.getAllKeys();
      request.onsuccess = () => {
        for (const key of request.result) if (!keep.has(Number(key))) stores.rooms.delete(key);
      };
    });
  }

  /** Forgets the state of the page: somebody logs out, or another account logs in. Outbox and drafts stay. */
  async forgetPage() {
    await this.#write(["page", "rooms"], ({ page, rooms }) => {
      page.clear();
      rooms.clear();
    });
  }
}
