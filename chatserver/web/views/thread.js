// A thread at the side: a message and those that answer it.

import {heading, html, says, toast, useChat, useEffect, usePages, useState} from "./base.js";
import {showPanel} from "./panel.js";
import {Rest} from "./rooms.js";
import {Found} from "./search.js";

export const showThread = (client, label, seq) => showPanel(Thread, "Thread", {client, of: label, label, seq, id: seq,
  sub: heading(label)});

function Thread({client, label, seq}) {
  useChat();
  const [first, setFirst] = useState(null);
  const room = client.called(label);
  const root = room?.runs.at(seq)?.entries.find(entry => entry.seq === seq) ?? first;
  useEffect(() => {
    client.command({cmd: "history", room: label, after: seq - 1, limit: 1}).then(answer => setFirst(answer.entries[0] ?? null), () => {});
  }, [seq]);
  const list = usePages(async last => {
    const answer = await client.command({cmd: "replies", room: label, seq, ...(last && {after: last.seq})});
    return {items: answer.entries, more: answer.more};
  }, [seq, root?.replies ?? 0]);
  const unsent = client.state.outbox.filter(item => item.room === room?.id && item.re === seq).length;
  const send = async event => {
    event.preventDefault();
    const area = event.target.elements.text;
    const text = area.value.trim();
    if (!text) return;
    area.value = "";
    try {
      await client.send(label, text, {re: seq});
    } catch (why) {
      area.value = text;
      toast(says(why));
    }
  };
  const keydown = event => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  };
  return html`
    <ul class="founds">${root && html`<${Found} key="root" entry=${root} room=${false} />`}</ul>
    <p class="rule"><span>${list.items.length === 1 ? "1 reply" : `${list.items.length}${list.more ? "+" : ""} replies`}</span></p>
    <ul class="founds">${list.items.map(entry => html`<${Found} key=${entry.seq} entry=${entry} room=${false} />`)}</ul>
    <${Rest} list=${list} empty="" />
    ${unsent > 0 && html`<p class="hint pad" role="status">${unsent === 1 ? "Your reply is" : `${unsent} replies are`} not sent yet.</p>`}
    ${!root?.erased && html`<form class="thread-box" onSubmit=${send}>
      <textarea name="text" rows="2" aria-label="Reply in the thread" placeholder="Reply…" data-first dir="auto" onKeyDown=${keydown}></textarea>
      <button class="button primary">Reply</button></form>`}`;
}

