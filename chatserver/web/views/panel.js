// The panel beside the log: `ui.panel` is `{view, title, sub, key, of}`; `of` is the room that it belongs to.

import {html, ui, useEffect, useRef} from "./base.js";
import {Head} from "./dialog.js";

/** Shows a panel in place of the one that is there. */
export function showPanel(view, title, props = {}) {
  const key = `${title} ${props.of ?? ""} ${props.id ?? ""}`;
  if (!ui.value.panel) back = document.activeElement;
  ui.set({panel: {view, title, props, key, of: props.of}});
}

/** @type {any} what had the focus before the panel came */
let back = null;

export function closePanel() {
  ui.set({panel: null});
  (back?.isConnected && back !== document.body ? back : document.querySelector("#box"))?.focus();
  back = null;
}

export function Panel({panel, alone}) {
  const element = useRef(null);
  const {view: View, title, props} = panel;
  useEffect(() => {
    (element.current.querySelector("[data-first]") ?? element.current.querySelector("button"))?.focus();
  }, []);
  return html`
    <div class="panel" role=${alone ? "main" : "complementary"} aria-label=${title} ref=${element}>
      ${alone && html`<h1 class="hidden">${title}</h1>`}
      <${Head} title=${title} sub=${props.sub} onClose=${closePanel} />
      <div class="panel-body"><${View} ...${props} /></div>
    </div>`;
}
