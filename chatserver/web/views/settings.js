// One's own things: names, password, devices, tokens, notifications, clock, export, and the end of the account.

import {attempt, html, says, toast, useChat, useEffect, useState, when} from "./base.js";
import {Field, Form, Head, open, wrong} from "./dialog.js";
import {allow, permission} from "./notify.js";

export const openSettings = () => open(Settings, {label: "Settings", wide: true});
export const openStatus = client => open(Status, {label: "Away", client});

function Status({client}) {
  const away = client.state.people.get(client.state.me.name)?.away;
  const send = async ({text}) => {
    await client.command({cmd: "away", ...(text.trim() && {text: text.trim()})});
    toast(text.trim() ? "You are away." : "You are back.");
  };
  return html`
    <${Head} title="Away" />
    <${Form} button="Save" onSend=${send} at=${{"too-long": "text"}}>
      <${Field} label="Why you are away" name="text" value=${away ?? ""} maxlength="200" autocomplete="off" data-first
        hint="For example: for lunch. Empty: you are here." />
    </${Form}>`;
}

const SECTIONS = [["you", "You"], ["notifications", "Notifications"], ["devices", "Devices"], ["tokens", "Tokens"], ["account", "Account"]];

function Settings() {
  const {client} = useChat();
  const {me, prefer} = client.state;
  const [chosen, choose] = useState("you");
  const shown = me.guest ? SECTIONS.slice(1, 2) : SECTIONS;
  const here = me.guest ? "notifications" : chosen;
  return html`
    <${Head} title="Settings" sub=${me.name} />
    <nav class="tabs" aria-label="Settings">${shown.map(([key, title]) => html`
      <button type="button" class="tab" aria-current=${here === key ? "page" : undefined} onClick=${() => choose(key)}>${title}</button>`)}</nav>
    <div class="sections">
      ${here === "you" && html`<${You} client=${client} me=${me} prefer=${prefer} />`}
      ${here === "notifications" && html`<${Notifications} />`}
      ${here === "devices" && html`<${Devices} client=${client} />`}
      ${here === "tokens" && html`<${Tokens} client=${client} me=${me} />`}
      ${here === "account" && html`<${Account} client=${client} me=${me} />`}
    </div>`;
}

/** The password, with the name that a password manager wants to know. */
const Password = ({me, label = "Your password", name = "password", ...more}) => html`
  <input type="text" name="username" autocomplete="username" value=${me.name} class="hidden" tabindex="-1" aria-hidden="true" readonly />
  <${Field} label=${label} name=${name} type="password" autocomplete="current-password" ...${more} />`;

function You({client, me, prefer}) {
  const rename = async ({display, password}) => {
    await client.command({cmd: "rename", display: display.trim(), ...(password && {password})});
    toast("Saved.");
  };
  const change = async ({old, fresh, again, others}, form) => {
    if (fresh !== again) throw wrong("again", "The two passwords differ.");
    await client.command({cmd: "password", old, new: fresh, ...(others && {others: true})});
    form.reset();
    toast("The password is changed.");
  };
  return html`
    <section><h3>Display name</h3>
      <${Form} button="Save" stay=${true} onSend=${rename} at=${{"bad-name": "display", "bad-credentials": "password", "too-long": "display", "bad-command": "password"}}>
        <${Field} label=${`What people see beside ${me.name}`} name="display" value=${me.display ?? ""} maxlength="48" autocomplete="name" />
        <${Password} me=${me} />
      </${Form}></section>
    <section><h3>Clock</h3>
      <${Field} label="Hours" name="clock" value=${prefer?.clock ?? "default"} options=${[["default", "As the browser does"], ["24", "24 hours"], ["12", "12 hours"]]}
        onChange=${clock => attempt(client.command({cmd: "prefer", clock}), "Saved.")} /></section>
    <section><h3>Password</h3>
      <${Form} button="Change password" stay=${true} onSend=${change} at=${{"bad-credentials": "old", "bad-password": "fresh"}}>
        <${Password} me=${me} label="Password until now" name="old" />
        <${Field} label="New password" name="fresh" type="password" autocomplete="new-password" hint="At least 8 characters." />
        <${Field} label="New password again" name="again" type="password" autocomplete="new-password" />
        <label class="check"><input type="checkbox" name="others" /> Log out all other devices, and revoke all tokens</label>
      </${Form}></section>`;
}

function Notifications() {
  const [state, setState] = useState(permission());
  const words = {
    default: "The page notifies you of direct messages and mentions once you allow it.", granted: "The page notifies you of direct messages and mentions.",
    denied: "The browser blocks notifications of this page. Change that in its settings.", none: "This browser has no notifications.",
  };
  return html`
    <section><h3>On this device</h3><p>${words[state]}</p>
      ${state === "default" && html`<button type="button" class="button primary" onClick=${() => allow().then(setState)}>Notify me</button>`}
      <p class="hint">For a single room, choose in its menu whether you are notified of every message, of mentions, or of nothing.</p></section>`;
}

/** A list that is fetched once, and again after a change. */
function useList(fetch) {
  const [list, setList] = useState(null);
  const [fault, setFault] = useState("");
  const again = () => fetch().then(setList, why => setFault(says(why)));
  useEffect(() => void again(), []);
  return {list, fault, again};
}

function Devices({client}) {
  const {list, fault, again} = useList(() => client.command({cmd: "sessions"}).then(answer => answer.sessions));
  const end = which => attempt(client.command({cmd: "sessions", end: which}), "Ended.").then(again);
  return html`
    <section><h3>Devices</h3><p class="hint">Where you stay logged in. End what you do not know, then change your password.</p>
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
      ${list?.length === 0 && html`<p class="hint">You stay logged in nowhere.</p>`}
      <ul class="list">${(list ?? []).map(one => html`<li class="list-row" key=${one.id}>
        <div class="grow"><p><b><bdi>${one.name}</bdi></b>${one.current && html` <span class="tag">this device</span>`}</p>
          <p class="sub">${one.address} · last used ${when(one.last_used)}</p></div>
        ${!one.current && html`<button type="button" class="button small" onClick=${() => end(one.id)}>End</button>`}</li>`)}</ul>
      ${list?.some(one => !one.current) && html`<button type="button" class="button" onClick=${() => end("others")}>End all others</button>`}</section>`;
}

function Tokens({client, me}) {
  const {list, fault, again} = useList(() => client.command({cmd: "token", list: true}).then(answer => answer.tokens));
  const [secret, setSecret] = useState("");
  const create = async ({label, seconds, read_only, password}, form) => {
    const answer = await client.command({cmd: "token", label: label.trim(), password, ...(seconds && {seconds: Number(seconds)}), ...(read_only && {read_only: true})});
    form.reset();
    setSecret(answer.token);
    again();
  };
  const revoke = label => attempt(client.command({cmd: "token", revoke: label}), "Revoked.").then(again);
  return html`
    <section><h3>Tokens</h3><p class="hint">Programs log in as you with a token in place of your password.</p>
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
      ${secret && html`<p class="note">Copy the token now; it is shown only this once: <code class="secret">${secret}</code></p>`}
      <ul class="list">${(list ?? []).map(one => html`<li class="list-row" key=${one.label}>
        <div class="grow"><p><b><bdi>${one.label}</bdi></b>${one.read_only && html` <span class="tag">read-only</span>`}</p>
          <p class="sub">Created ${when(one.created)}${one.last_used ? ` · last used ${when(one.last_used)}` : ""}${one.expires ? ` · until ${when(one.expires)}` : ""}</p></div>
        <button type="button" class="button small" onClick=${() => revoke(one.label)}>Revoke</button></li>`)}</ul></section>
    <section><h3>New token</h3>
      <${Form} button="Create token" stay=${true} onSend=${create} at=${{"bad-credentials": "password", "bad-command": "label"}}>
        <${Field} label="What it is for" name="label" maxlength="64" autocomplete="off" />
        <${Field} label="Valid" name="seconds" value="" options=${[["", "Until it is revoked"], ["2592000", "30 days"], ["86400", "1 day"]]} />
        <label class="check"><input type="checkbox" name="read_only" /> It can only read</label>
        <${Password} me=${me} />
      </${Form}></section>`;
}

function Account({client, me}) {
  const [busy, setBusy] = useState("");
  const save = async () => {
    const file = await attempt(collect(client, setBusy));
    setBusy("");
    if (!file) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], {type: "application/json"}));
    link.download = `${me.name}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };
  return html`
    <section><h3>Export</h3><p>A file with everything that you wrote and that is still there.</p>
      <button type="button" class="button" disabled=${busy !== ""} onClick=${save}>${busy || "Save the file"}</button></section>
    <section><h3>Erase the account</h3><p>Your account is erased for good. Nobody can take its name.</p>
      <button type="button" class="button danger" onClick=${() => open(Forget, {label: "Erase the account", client})}>Erase my account…</button></section>`;
}

async function collect(client, tell) {
  const entries = [];
  let account, after;
  do {
    const answer = await client.command({cmd: "export", limit: 500, ...(after && {after})});
    account ??= answer.account;
    entries.push(...answer.entries);
    after = answer.next;
    tell(`${entries.length} entries…`);
  } while (after);
  return {account, entries};
}

const Forget = ({client}) => html`
  <${Head} title="Erase the account" />
  <${Form} button="Erase my account" danger=${true} at=${{"bad-credentials": "password", "bad-command": "password"}}
      onSend=${({password, messages}) => client.command({cmd: "forget", password, messages})}>
    <p>This cannot be undone.</p>
    <${Field} label="Your messages" name="messages" value="keep" options=${[["keep", "Stay, under another name"], ["erase", "Are erased, too"]]} />
    <${Password} me=${client.state.me} data-first />
  </${Form}>`;

