import assert from "node:assert/strict";
import { test } from "node:test";
import { Runs } from "../../../chatserver/web/core/runs.js";
import { Town, seeded } from "./server.mjs";

const bare = ({ known, replies, mine, reactions, id, ...entry }) => ({
  ...entry, ...(replies ? { replies } : {}), ...(mine?.length ? { mine: [...mine].sort() } : {}),
  ...(Object.keys(reactions ?? {}).length ? { reactions } : {}),
});

test("Whatever order pages and events come in, what is in memory is what the server has.", () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seeded(seed);
    const town = new Town(random);
    for (let count = 0; count < 40; count += 1) town.act();
    const runs = new Runs((name) => name === "mia");
    runs.head = runs.live = town.head;
    let sent = town.head;
    const late = [];
    for (let step = 0; step < 150; step += 1) {
      const chance = random();
      if (chance < 0.5) town.act();
      else if (chance < 0.8) while (sent < town.head && random() < 0.8) runs.append({ ...town.log[sent++] });
      else if (chance < 0.92) {
        const from = 1 + Math.floor(random() * town.head);
        late.push(town.page(from, from + Math.floor(random() * 20), "mia"));
      } else if (late.length) runs.add(late.shift());
    }
    for (const page of late) runs.add(page);
    while (sent < town.head) runs.append({ ...town.log[sent++] });
    for (const run of runs.list) {
      assert.deepEqual(run.entries.map((entry) => entry.seq), Array.from({ length: run.to - run.from + 1 }, (_, at) => run.from + at));
      for (const entry of run.entries) assert.deepEqual(bare(entry), bare(town.now(entry.seq, "mia")), `seed ${seed}, ${entry.seq}`);
    }
    for (const [at, run] of runs.list.entries()) if (at) assert.ok(runs.list[at - 1].to + 1 < run.from);
    assert.ok(runs.list.length <= 5);
    assert.equal(runs.newest()?.to, town.head);
  }
});

test("A room in memory has at most five runs of 2,000, and the newest is never dropped for another.", () => {
  const runs = new Runs();
  const entry = (seq) => ({ event: "message", room_id: 1, seq, at: "", from: "ana", text: "x" });
  const page = (from, to) => ({ from, to, as_of: 1e6, entries: Array.from({ length: to - from + 1 }, (_, at) => entry(from + at)) });
  runs.add(page(999_901, 1_000_000));
  for (let from = 1; from < 9000; from += 1000) runs.add(page(from, from + 99));
  assert.equal(runs.list.length, 5);
  assert.equal(runs.newest().from, 999_901);
  for (let seq = 1_000_001; seq < 1_005_000; seq += 1) runs.append(entry(seq));
  assert.ok(runs.newest().entries.length <= 2000);
  assert.equal(runs.newest().entries[0].seq, runs.newest().from);
  for (let from = runs.newest().from; from > 990_000; from -= 100) runs.add(page(from - 100, from - 1));
  assert.ok(runs.list.every((run) => run.entries.length <= 2000));
});

test("What an earlier state of the database lacks is forgotten, and what was folded from it is read again.", () => {
  const town = new Town(seeded(1));
  const runs = new Runs();
  for (let count = 0; count < 5; count += 1) runs.append(town.log[town.say("ana", `${count}`) - 1]);
  town.edit(2, "lost");
  runs.append(town.log[5]);
  runs.cut(4);
  assert.equal(runs.entry(5), null);
  assert.equal(runs.entry(2), null);
});

test("A gap joins what is left with what was there.", () => {
  const runs = new Runs();
  runs.append({ event: "message", room_id: 1, seq: 3, at: "", from: "ana", text: "x" });
  runs.removed(4, 9);
  runs.append({ event: "message", room_id: 1, seq: 9, at: "", from: "ana", text: "y" });
  assert.deepEqual(runs.list.map(({ from, to }) => [from, to]), [[3, 9]]);
});
