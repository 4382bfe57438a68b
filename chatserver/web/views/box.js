// The message box: drafts, completion, replies, edits, limits. The text is the textarea's own, so that typing is cheap.

import {heading, html, Icon, IconButton, says, toast, ui, useChat, useEffect, useLayoutEffect, useRef, useState} from "./base.js";
import {matches, typed} from "./complete.js";
import {ask} from "./dialog.js";
import {erase} from "./menu.js";

const bytes = text => new TextEncoder().encode(JSON.stringify(text)).length;

/** Why a text cannot be sent, or "". */
export function tooLong(text, limits) {
  const most = limits?.text ?? 4096, lines = limits?.lines ?? 100;
  const length = [...text.normalize("NFC")].length;
  if (length > most) return `${length - most} characters too many: a message has at most ${most}.`;
  const count = text.split("\n").length;
  if (count > lines) return `${count - lines} lines too many: a message has at most ${lines}.`;
  if (bytes(text) > (limits?.line_bytes ?? 53248) - 400) return "The message is too long for this server.";
  return "";
}

export function Box({label, room, client}) {
  const {ui: {reply, edit}} = useChat();
  const area = useRef(null);
  const before = useRef("");
  const [list, setList] = useState(null);
  const [count, setCount] = useState("");
  const limits = client.state.server?.limits;

  const grow = () => {
    const box = area.current, row = box.parentElement;
    row.style.setProperty("height", `${row.offsetHeight}px`); // nothing else moves while the text is measured
    box.style.setProperty("height", "auto");
    box.style.setProperty("height", `${box.scrollHeight}px`);
    row.style.removeProperty("height");
  };
  const put = text => {
    area.current.value = text;
    changed(false);
  };
  const changed = (byHand = true) => {
    const text = area.current.value;
    grow();
    if (!ui.value.edit) client.keepDraft(label, text);
    if (byHand && text && room && !ui.value.edit) client.typing(room);
    const left = (limits?.text ?? 4096) - text.length;
    setCount(tooLong(text, limits) || (left < 400 ? `${left} characters left` : ""));
    complete(byHand);
  };
  const complete = byHand => {
    const box = area.current;
    const what = byHand && box.selectionStart === box.selectionEnd ? typed(box.value, box.selectionStart) : null;
    const found = what ? matches(client.state, what) : [];
    setList(found.length ? {what, found, at: 0} : null);
  };
  const choose = one => {
    const box = area.current;
    box.setRangeText(one.text, list.what.from, box.selectionStart, "end");
    box.focus();
    setList(null);
    changed(false);
  };

  useLayoutEffect(() => put(client.draft(label)), [label]); // before anybody can have typed here
  useEffect(() => {
    if (!matchMedia("(pointer: coarse)").matches && !ui.value.dialog) area.current.focus();
    dispatchEvent(new Event("resize"));
  }, [label]);
  useEffect(() => {
    if (!edit) return undefined;
    before.current = area.current.value;
    put(edit.text ?? "");
    area.current.focus();
    return () => area.current && put(before.current);
  }, [edit]);

  const send = async () => {
    const text = area.current.value.replace(/\s+$/u, "");
    if (edit && !text.trim()) return erase(client, room, edit);
    if (!text.trim()) return undefined;
    const fault = tooLong(text, limits);
    if (fault) return setCount(fault);
    const how = {draft: true, ...(reply ? {re: reply.seq} : {})};
    setList(null);
    if (edit) {
      const {seq, text: old} = edit;
      ui.set({edit: null});
      if (text === old) return undefined;
      return client.edit(room, seq, text).catch(why => toast(says(why)));
    }
    ui.set({reply: null});
    const sent = client.send(label, text, how); // stored before the draft goes, so that one of both is always there
    put("");
    try {
      await sent;
    } catch (why) { // it could not be kept on this device
      if (!area.current.value) put(text);
      toast(says(why));
    }
    return undefined;
  };

  const lastOwn = () => {
    const mine = one => one.event === "message" && one.from === client.state.me.name && !one.erased;
    const last = room?.runs.newest()?.entries.findLast(mine);
    if (last) ui.set({edit: last, reply: null});
  };

  const keydown = event => {
    if (event.isComposing) return;
    if (list) {
      const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
      if (step) {
        event.preventDefault();
        return setList({...list, at: (list.at + step + list.found.length) % list.found.length});
      }
      if (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey)) {
        event.preventDefault();
        return choose(list.found[list.at]);
      }
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        return setList(null);
      }
    }
    if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.altKey && !matchMedia("(pointer: coarse)").matches) {
      event.preventDefault();
      return send();
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      return send();
    }
    if (event.key === "ArrowUp" && !area.current.value && !edit && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      return lastOwn();
    }
    if (event.key === "Escape" && (edit || reply)) {
      event.preventDefault();
      event.stopPropagation();
      if (edit && area.current.value !== edit.text) ask("Discard your changes?", "The message stays as it was.", "Discard", async () => ui.set({edit: null}));
      else ui.set({edit: null, reply: null});
    }
    return undefined;
  };

  const chosen = list ? `complete-${list.at}` : undefined;
  return html`
    <div class="box">
      ${(reply || edit) && html`
        <div class="box-banner"><${Icon} name=${edit ? "edit" : "reply"} />
          <span class="clip">${edit ? "Editing your message" : html`Replying to <b><bdi>${reply.display || reply.from}</bdi></b> <span class="sub"><bdi>${(reply.text ?? "").slice(0, 200)}</bdi></span>`}</span>
          <${IconButton} icon="close" label=${edit ? "Do not edit" : "Do not reply"} keys="Esc" onClick=${() => ui.set({edit: null, reply: null})} /></div>`}
      ${list && html`
        <ul class="complete" role="listbox" aria-label="Completions" id="completions">
          ${list.found.map((one, at) => html`<li role="option" id=${`complete-${at}`} key=${one.label} aria-selected=${at === list.at}
            onMouseDown=${event => { event.preventDefault(); choose(one); }}><bdi>${one.label}</bdi> <span class="sub clip"><bdi>${one.more}</bdi></span></li>`)}
        </ul>`}
      <div class="box-row">
        <textarea id="box" ref=${area} rows="1" dir="auto" aria-label=${`Message to ${heading(label)}`}
          placeholder=${`Message ${heading(label)}`} enterkeyhint="send" autocomplete="off"
          aria-autocomplete="list" aria-controls=${list ? "completions" : undefined}
          aria-activedescendant=${chosen} aria-describedby="box-count"
          onInput=${() => changed()} onKeyDown=${keydown} onBlur=${() => setList(null)}></textarea>
        <${IconButton} icon=${edit ? "check" : "send"} class="icon-button send" label=${edit ? "Save" : "Send"} keys="Enter"
          onMouseDown=${event => event.preventDefault()} onClick=${send} />
      </div>
      <p class=${`box-count ${count.includes("left") ? "" : "fault"}`} id="box-count" role="status">${count}</p>
    </div>`;
}
