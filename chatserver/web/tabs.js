// The outbox of this device: one tab of an account sends, and all of them show the same items. The order of the items is
// that of the database. Without Web Locks every tab sends: nothing is doubled, since a repetition has the same id.

import { Outbox, command } from "./core/outbox.js";

/** @typedef {import("./core/types.js").Item} Item */

export class Post {
  /** @param {import("./client.js").Chat} chat @param {import("./store.js").Store} store */
  constructor(chat, store) {
    this.chat = chat;
    this.store = store;
    this.outbox = new Outbox((item) => String(item.room || chat.called(item.label)?.id || item.label.toLowerCase()));
    /** "": nobody is logged in; null: that is not known yet. @type {string|null} */
    this.account = null;
    this.isSender = false;
    /** Ends the part of the sender. @type {() => void} */
    this.release = () => {};
    /** @type {Set<string>} ids that are done, though the database may still have them */
    this.gone = new Set();
    /** @type {Set<string>} guests whose tabs it waits for, to remove what they leave */
    this.guests = new Set();
    /** @type {any} */
    this.timer = 0;
    /** @type {Promise<void>} what is being done with the database, one after another */
    this.doing = Promise.resolve();
    this.channel = typeof BroadcastChannel === "function" ? new BroadcastChannel("chat") : null;
    if (this.channel) this.channel.onmessage = ({ data }) => this.#heard(data);
  }

  /** The items of this account from now on; "" if nobody is logged in. @param {string} account */
  async open(account) {
    if (account === this.account) return this.send();
    this.release();
    this.account = account;
    this.isSender = false;
    this.outbox.items = [];
    if (account) this.#claim(account);
    await this.#load();
    if (this.outbox.items.length) this.#tell(); // a page that ended before it did has stored them, perhaps
  }

  /** The account has another name. @param {string} to */
  async renamed(to) {
    const items = this.outbox.items.map((item) => Object.assign(item, { account: to }));
    await this.store.change(items);
    await this.open(to);
  }

  /** Stores an item, and then shows and sends it. @param {Item} item @param {string} [draft] see `Store.put` */
  async put(item, draft) {
    await this.store.put(item, draft);
    if (item.account === this.account) this.outbox.add(item);
    this.#tell();
    this.send();
  }

  /** Sends what can be sent. */
  send() {
    const { chat, outbox } = this;
    this.show();
    if (chat.state.phase !== "online" || !this.isSender) return;
    for (const item of outbox.next(Date.now())) {
      const label = chat.room(item.room)?.label ?? item.label;
      chat.line.send(command(item, label)).then(() => this.stored(item.id), (why) => this.#refused(item, why));
    }
    clearTimeout(this.timer);
    const until = outbox.wakeAt(Date.now());
    if (until) this.timer = setTimeout(() => this.send(), until - Date.now() + 10);
    this.#tell({ states: outbox.items.map(({ id, state }) => [id, state]) });
    this.show();
  }

  /** The server has stored it. @param {string} id */
  stored(id) {
    this.gone.add(id);
    const item = this.outbox.get(id);
    if (!item) return;
    this.outbox.remove(id);
    this.#remove(item);
    this.send();
  }

  /** The connection has ended. @param {string} [reason] */
  ended(reason) {
    const changed = this.outbox.ended(reason);
    if (changed.length) this.store.change(changed).catch(() => {});
    this.show();
  }

  /** @param {string} id */
  async discard(id) {
    const item = this.outbox.get(id);
    if (!item) return;
    this.outbox.remove(id);
    await this.#remove(item);
    this.send();
  }

  /** @param {string} id @param {{id: string, text: string}} fields */
  async resend(id, fields) {
    const item = this.outbox.resend(id, fields);
    if (!item) return;
    await this.store.put(item);
    this.#tell();
    this.send();
  }

  /** Tells the other tabs that somebody has logged in here. */
  entered() {
    this.channel?.postMessage({ entered: true });
  }

  /** Hands the items to the views. */
  show() {
    this.chat.state.outbox = [...this.outbox.items];
    this.chat.changed();
  }

  /** @param {Item} item @param {import("./core/types.js").Refusal} why */
  #refused(item, why) {
    const isFinal = this.outbox.refused(item.id, why, Date.now()) === "refused";
    if (isFinal) this.store.change([item]).catch(() => {}).then(() => this.#tell());
    this.send();
  }

  /** @param {Item} item */
  async #remove(item) {
    this.gone.add(item.id);
    await this.store.remove(item).catch(() => {});
    this.#tell();
  }

  /** Becomes the sender of the account, as soon as no other tab is. @param {string} account */
  #claim(account) {
    const become = () => {
      if (this.account !== account) return undefined;
      this.isSender = true;
      this.#load();
      return new Promise((resolve) => { this.release = () => resolve(undefined); });
    };
    if (!navigator.locks) return void become();
    navigator.locks.request(`outbox ${account}`, become).catch(() => void become());
  }

  /** Takes the items from the database. Those on their way stay so. */
  #load() {
    this.doing = this.doing.then(async () => {
      const all = (await this.store.items()).filter((item) => !this.gone.has(item.id));
      const mine = all.filter((item) => item.account === this.account);
      const guests = all.filter((item) => item.account !== this.account && item.account.startsWith("~"));
      for (const { account } of guests) this.#clear(account);
      this.chat.state.foreign = all.length - mine.length - guests.length;
      this.outbox.items = mine.map((item) => {
        const known = this.outbox.get(item.id);
        return known && known.state !== "refused" && item.state !== "refused" ? Object.assign(known, { order: item.order }) : item;
      });
      this.send();
    }).catch(() => {});
    return this.doing;
  }

  /** Removes what a guest leaves, once the tab is gone: nobody comes back as this guest. @param {string} account */
  #clear(account) {
    if (this.guests.has(account)) return;
    this.guests.add(account);
    const clear = async () => {
      for (const item of await this.store.items()) if (item.account === account) await this.store.remove(item);
    };
    (navigator.locks ? navigator.locks.request(`outbox ${account}`, clear) : clear()).catch(() => {});
  }

  /** @param {{states?: [string, Item["state"]][]}} [more] */
  #tell(more = {}) {
    this.channel?.postMessage({ account: this.account, ...more });
  }

  /** @param {{account?: string, states?: [string, Item["state"]][], entered?: boolean}} data */
  #heard(data) {
    if (data.entered) this.chat.entered();
    else if (data.account !== this.account) return;
    else if (!data.states) this.#load();
    else if (!this.isSender) {
      for (const [id, state] of data.states) {
        const item = this.outbox.get(id);
        if (item && item.state !== "refused" && state !== "refused") item.state = state;
      }
      this.show();
    }
  }
}
