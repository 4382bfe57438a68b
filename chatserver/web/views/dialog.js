// The one dialog: keeps the focus inside, ends with Esc, and gives the focus back. Also menus, questions and fields.

import {html, Icon, IconButton, says, ui, useEffect, useLayoutEffect, useRef, useState} from "./base.js";

/** Shows a dialog; `view` is drawn with `props` until `close()`. */
export const open = (view, props = {}) => ui.set({dialog: {view, props}});
export const close = () => ui.set({dialog: null});

/**
 * Draws the dialog that is open. The browser makes the rest of the page inert and keeps the focus: a toast outside of the
 * dialog would be behind it, and unheard.
 */
export function DialogHost({dialog, toast}) {
  const element = useRef(null);
  const before = useRef(null);
  const at = dialog?.props.at;
  useLayoutEffect(() => {
    const shown = element.current;
    if (!dialog || !shown) return undefined;
    before.current ??= document.activeElement;
    if (!shown.open) shown.showModal();
    if (at) put(shown, at);
    (shown.querySelector("[data-first]") ?? shown.querySelector("input, textarea, select, button.item"))?.focus();
    return undefined;
  }, [dialog]);
  useEffect(() => {
    if (dialog || !before.current) return;
    const back = before.current;
    before.current = null;
    if (document.activeElement === document.body || !document.activeElement) {
      (back.isConnected ? back : document.querySelector("#box"))?.focus();
    }
  }, [dialog]);
  const said = html`<div class="toasts" role="status">${toast && html`<p class="toast">${toast}</p>`}</div>`;
  if (!dialog) return said;
  const {view: View, props} = dialog;
  return html`
    <dialog ref=${element} class=${`dialog ${props.at ? "is-menu" : ""} ${props.wide ? "wide" : ""}`} aria-label=${props.label}
        onCancel=${event => { event.preventDefault(); close(); }}
        onMouseDown=${event => event.target === element.current && close()}>
      <div class="dialog-body"><${View} ...${props} key=${props.key} /></div>
      ${said}
    </dialog>`;
}

/** Puts a menu beside the element that it belongs to, inside the window. */
function put(shown, at) {
  const anchor = at.getBoundingClientRect();
  const {width, height} = shown.getBoundingClientRect();
  const left = Math.max(8, Math.min(anchor.right - width, innerWidth - width - 8));
  const below = anchor.bottom + 4;
  const top = below + height > innerHeight - 8 ? Math.max(8, anchor.top - height - 4) : below;
  shown.style.setProperty("--left", `${left}px`);
  shown.style.setProperty("--top", `${top}px`);
}

/** The head of a dialog or panel: a title, and a button that closes it. */
export const Head = ({title, sub, onClose = close, children}) => html`
  <div class="head">
    <div class="head-words"><h2>${title}</h2>${sub && html`<p class="sub">${sub}</p>`}</div>
    ${children}
    <${IconButton} icon="close" label="Close" keys="Esc" onClick=${onClose} />
  </div>`;

/** A menu of `items`: `{icon, label, keys, act, danger}`; what is no item is left out. ↑ and ↓ move, a letter finds. */
export function Menu({items, title, children}) {
  const list = useRef(null);
  const move = event => {
    const all = [...list.current.querySelectorAll("button.item")];
    const here = all.indexOf(document.activeElement);
    let to = {ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: all.length - 1}[event.key];
    if (to === undefined && event.key.length === 1 && event.key !== " ") {
      const later = [...all.slice(here + 1), ...all.slice(0, here + 1)];
      to = all.indexOf(later.find(item => item.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase())));
      if (to < 0) return;
    }
    if (to === undefined) return;
    event.preventDefault();
    all[(to + all.length) % all.length]?.focus();
  };
  return html`
    <div class="menu" role="group" aria-label=${title} ref=${list} onKeyDown=${move}>
      ${children}
      ${items.map((item, index) => item && html`
        <button type="button" class=${`item ${item.danger ? "danger" : ""}`} key=${index}
            onClick=${() => { close(); item.act(); }}>
          ${item.icon && html`<${Icon} name=${item.icon} />`}<span>${item.label}</span>
          ${item.keys && html`<kbd>${item.keys}</kbd>`}
        </button>`)}
    </div>`;
}

/** Asks before something that cannot be taken back. */
export function ask(title, text, button, act, danger = true) {
  open(Question, {label: title, title, text, button, act, danger});
}

const Question = ({title, text, button, act, danger}) => html`
  <${Head} title=${title} />
  <${Form} button=${button} danger=${danger} onSend=${act}><p>${text}</p></${Form}>`;

/**
 * A form: `onSend(values)` gets its fields by name and resolves when it has succeeded; what it refuses is shown at
 * the field `at[error]`, or below. Closes the dialog at the end unless `stay`.
 */
export function Form({children, button, danger, onSend, at = {}, stay, disabled}) {
  const [fault, setFault] = useState(null);
  const [busy, setBusy] = useState(false);
  const form = useRef(null);
  const send = async event => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setFault(null);
    show(form.current, null);
    try {
      await onSend(Object.fromEntries(new FormData(form.current)), form.current);
      if (!stay) close();
    } catch (refusal) {
      const name = refusal.field ?? at[refusal.error];
      const field = name && form.current.elements[name];
      if (field) show(form.current, field, says(refusal));
      else setFault(says(refusal));
    }
    setBusy(false);
  };
  return html`
    <form ref=${form} class="form" onSubmit=${send} noValidate>
      ${children}
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
      <div class="buttons">
        <button class=${`button ${danger ? "danger" : "primary"}`} disabled=${disabled} aria-busy=${busy}>
          ${busy ? html`<span class="spinner" aria-hidden="true"></span>` : ""}${button}
        </button>
      </div>
    </form>`;
}

/** Shows at a field what is wrong with it, and puts the focus there; without a field all faults go. */
function show(form, field, text) {
  for (const old of form.querySelectorAll(".field-fault")) old.textContent = "";
  for (const input of form.elements) input.removeAttribute("aria-invalid");
  if (!field) return;
  const place = document.getElementById(`${field.id}-fault`);
  if (place) place.textContent = text;
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

/** A refusal that this page makes itself, at a field. */
export const wrong = (field, text) => Object.assign(new Error(text), {field, text, error: "page"});

let fields = 0;

/** A labelled field, with a hint and room for what is wrong with it. With `options`, `[value, label]`, it is a choice. */
export function Field({label, name, hint, type = "text", area, value, options, onChange, ...more}) {
  const [id] = useState(() => `field-${++fields}`);
  const about = `${hint ? `${id}-hint ` : ""}${id}-fault`;
  const Tag = area ? "textarea" : "input";
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${options
        ? html`<select id=${id} name=${name} aria-describedby=${about} onChange=${onChange && (event => onChange(event.target.value))}>
            ${options.map(([key, words]) => html`<option value=${key} selected=${key === value}>${words}</option>`)}</select>`
        : html`<${Tag} id=${id} name=${name} type=${area ? undefined : type} defaultValue=${value} aria-describedby=${about} ...${more} />`}
      ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
      <p class="field-fault" id=${`${id}-fault`} role="alert"></p>
    </div>`;
}
