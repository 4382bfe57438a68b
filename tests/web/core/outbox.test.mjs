import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox, command } from "../../../chatserver/web/core/outbox.js";
import { Town, seeded } from "./server.mjs";

const item = (id, room = 1, more = {}) => ({
  id, account: "ana", kind: "say", room, label: "books", text: `text ${id}`, order: Number(id), at: "", tries: 0, state: "waiting", ...more,
});
const refusal = (error, retry) => ({ error, text: `refused: ${error}`, ...(retry === undefined ? {} : { retry }) });

test("Cut anywhere, each message is stored once, in its author's order.", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = seeded(seed);
    const towns = new Map([[1, new Town(random)], [2, new Town(random)]]);
    const outbox = new Outbox();
    let order = 0;
    let now = 0;
    let wire = [];
    for (let step = 0; order < 60 || outbox.items.length; step += 1) {
      assert.ok(step < 5000, `seed ${seed} does not end`);
      now += 100;
      const chance = random();
      if (order < 60 && chance < 0.4) outbox.add(item(String(++order), 1 + Math.floor(random() * 2)));
      else if (chance < 0.45) {
        // The connection ends: some of what was sent has come, no answer has.
        for (const one of wire.slice(0, Math.floor(random() * (wire.length + 1)))) store(one);
        for (const one of wire) outbox.refused(one.id, refusal("offline"), now);
        wire = [];
        outbox.ended("shutdown");
      } else if (chance < 0.7) wire.push(...outbox.next(now).map((one) => ({ ...one })));
      else if (wire.length) {
        const one = wire.shift();
        if (random() < 0.15) outbox.refused(one.id, refusal("slow-down", random() < 0.5 ? 0.3 : true), now);
        else {
          store(one);
          outbox.remove(one.id);
        }
      }
    }
    function store(one) {
      towns.get(one.room).say("ana", one.text, { id: one.id });
    }
    const all = [...towns.values()].flatMap((town) => town.log.map((entry) => Number(entry.id)));
    assert.deepEqual([...all].sort((one, other) => one - other), Array.from({ length: 60 }, (_, at) => at + 1));
    for (const town of towns.values()) {
      const ids = town.log.map((entry) => Number(entry.id));
      assert.deepEqual(ids, [...ids].sort((one, other) => one - other), `seed ${seed}`);
    }
  }
});

test("An item that was under way at six ends of connections in a row is set aside, and the others are sent.", () => {
  const outbox = new Outbox();
  for (const [id, room] of [["1", 1], ["2", 2], ["3", 3]]) outbox.add(item(id, room));
  for (let round = 0; round < 20 && outbox.get("1").state === "waiting"; round += 1) {
    let sent = outbox.next(round);
    while (sent.length && !sent.some((one) => one.id === "1")) {
      for (const one of sent) outbox.remove(one.id);
      sent = outbox.next(round);
    }
    if (sent.some((one) => one.id === "1")) outbox.ended();
  }
  assert.equal(outbox.get("1").state, "refused");
  assert.match(outbox.get("1").why, /six times/);
  assert.equal(outbox.get("2").state, "waiting");
  assert.deepEqual(outbox.next(9).map((one) => one.id), ["2"]);
  outbox.remove("2");
  assert.deepEqual(outbox.next(9).map((one) => one.id), ["3"]);
});

test("A refusal without retry stops the item and not the queue; slow-down stops that room only.", () => {
  const outbox = new Outbox();
  for (const one of [item("1"), item("2"), item("3", 2)]) outbox.add(one);
  assert.deepEqual(outbox.next(0).map((one) => one.id), ["1", "3"]);
  assert.equal(outbox.refused("1", refusal("muted"), 0), "refused");
  assert.deepEqual(outbox.next(0).map((one) => one.id), ["2"]);
  assert.equal(outbox.refused("2", refusal("slow-down", 30), 0), "again");
  outbox.remove("3");
  outbox.add(item("4", 2));
  assert.deepEqual(outbox.next(1).map((one) => one.id), ["4"]);
  assert.equal(outbox.wakeAt(1), 30_000);
  assert.deepEqual(outbox.next(30_000).map((one) => one.id), ["2"]);
});

test("A refused item is sent again with another text, and is the command that it was.", () => {
  const outbox = new Outbox();
  outbox.add(item("1", 1, { re: 7 }));
  outbox.next(0);
  outbox.refused("1", refusal("too-long"), 0);
  outbox.resend("1", { id: "9", text: "short" });
  assert.deepEqual(outbox.next(0).map((one) => command(one, "books")), [{ cmd: "reply", room: "books", seq: 7, text: "short", id: "9" }]);
  assert.deepEqual(command(item("2", 1, { kind: "edit", of: 4 }), "books"), { cmd: "edit", room: "books", seq: 4, text: "text 2" });
});
