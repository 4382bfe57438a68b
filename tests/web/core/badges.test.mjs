import assert from "node:assert/strict";
import { test } from "node:test";
import { mentions } from "../../../chatserver/web/core/badges.js";
import { restore, taken } from "../../../chatserver/web/core/snapshot.js";
import { Model } from "../../../chatserver/web/core/state.js";
import { Town, seeded } from "./server.mjs";

/** What the server counts for mia. */
function counted(town, read, ignored) {
  const found = town.log.slice(read).filter((entry) => entry.event === "message" && entry.from !== "mia" && !ignored.has(entry.from))
    .map((entry) => town.now(entry.seq)).filter((entry) => !entry.erased);
  const isMention = (entry) => mentions(entry.text, "mia") || town.log[(entry.re ?? 0) - 1]?.from === "mia";
  const first = found[0]?.seq;
  return { messages: found.length, mentions: found.filter(isMention).length, ...(first ? { first } : {}) };
}

const status = (town, read, ignored) => ({
  room: "books", room_id: 1, seq: town.head, read, role: "member", unread: 0, ...counted(town, read, ignored), members: 3,
});
const greeting = (town, read, ignored) => ({ ok: true, name: "mia", rooms: [status(town, read, ignored)], epoch: "e", prefer: {} });

test("Whatever people do, and wherever one is cut off, a badge is what the server counts.", () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const random = seeded(seed);
    const town = new Town(random);
    const ignored = new Set();
    let read = 0;
    for (let count = 0; count < 20; count += 1) town.act();
    let model = new Model();
    model.greet(greeting(town, read, ignored));
    let sent = town.head;
    const asked = [];
    const settle = () => {
      if (model.stale && !model.since) {
        model.asking();
        asked.push([status(town, read, ignored)]);
      }
    };
    for (let step = 0; step < 200; step += 1) {
      const chance = random();
      if (chance < 0.5) town.act();
      else if (chance < 0.75) while (sent < town.head && random() < 0.8) model.event({ ...town.log[sent++] }, 0);
      else if (chance < 0.8) {
        read = Math.max(read, sent - Math.floor(random() * 10));
        model.mark(1, read);
      } else if (chance < 0.81) {
        read = Math.floor(random() * (sent + 1));
        model.mark(1, read, true);
      } else if (chance < 0.83) {
        const resume = model.positions().resume?.books;
        if (random() < 0.3) {
          const kept = structuredClone(taken(model, new Map()));
          model = new Model();
          restore(model, kept);
        }
        model.greet(greeting(town, read, ignored));
        asked.length = 0;
        sent = resume ? resume.seq : town.head;
        if (resume && town.head - sent > 5 && random() < 0.5) {
          sent = town.head - 5;
          model.event({ event: "skipped", room: "books", room_id: 1, from: resume.seq + 1, first: sent + 1 }, 0);
        }
      } else if (chance < 0.9 && asked.length && sent === town.head) model.counted(asked.shift());
      settle();
      if (chance < 0.97) continue;
      while (sent < town.head) model.event({ ...town.log[sent++] }, 0);
      for (settle(); asked.length; settle()) model.counted(asked.shift());
      const { messages, mentions: ofMe, first } = model.state.rooms.get(1);
      assert.deepEqual({ messages, mentions: ofMe, ...(first ? { first } : {}) }, counted(town, read, ignored), `seed ${seed}, step ${step}`);
      for (const run of model.state.rooms.get(1).runs.list) {
        for (const entry of run.entries) assert.equal(entry.text, town.now(entry.seq).text, `seed ${seed}, ${entry.seq}`);
      }
    }
  }
});

test("A name is a word of its own, in any case, and with signs around it.", () => {
  for (const text of ["ana", "@ANA!", "(Ana)", "ana_", "_ana-", "hi,ana"]) assert.ok(mentions(text, "ana"), text);
  for (const text of ["ana-bee", "anax", "bana", "~ana", ""]) assert.ok(!mentions(text, "ana"), text);
  assert.ok(mentions("STRASSE", "strasse") && mentions("straße", "strasse"));
});

test("Names, rooms and people follow the entries.", () => {
  const model = new Model();
  const { state } = model;
  const say = (fields) => model.event({ at: "2026-03-02T10:02:00.123Z", ...fields }, 1000);
  const room = { seq: 1, read: 1, unread: 0, messages: 0, mentions: 0 };
  model.greet({ name: "mia", epoch: "e", rooms: [{ room: "@bob", room_id: 2, ...room, with: { name: "bob", online: true } },
    { room: "books", room_id: 1, ...room, role: "member", members: 2 }] });
  model.event({ event: "typing", room: "books", room_id: 1, name: "bob" }, 1000);
  assert.equal(model.fade(1000), 7000);
  say({ event: "message", room: "books", room_id: 1, seq: 2, from: "bob", text: "hi" });
  assert.equal(model.fade(1000), 0);
  say({ event: "renamed", room: "@bob", room_id: 2, seq: 2, name: "bob", to: "robert" });
  assert.equal(model.called("@robert")?.with?.name, "robert");
  say({ event: "renamed", room: "books", room_id: 1, seq: 3, name: "mia", to: "maria", display: "Maria" });
  assert.deepEqual(state.me, { name: "maria", guest: false, display: "Maria" });
  say({ event: "role", room: "books", room_id: 1, seq: 4, name: "maria", role: "owner", by: "robert" });
  assert.equal(model.called("books")?.role, "owner");
  model.event({ event: "invited", room: "cellar", room_id: 3, by: "robert" }, 0);
  assert.equal(state.invitations.length, 1);
  say({ event: "joined", room: "cellar", room_id: 3, seq: 9, name: "maria" });
  assert.ok(model.called("cellar") && model.stale && !state.invitations.length);
  say({ event: "kicked", room: "books", room_id: 1, seq: 5, name: "maria", by: "robert" });
  assert.equal(model.called("books"), undefined);
  model.greet({ name: "maria", epoch: "f", common: {}, rooms: [] });
  assert.equal(state.rooms.size, 0);
});
