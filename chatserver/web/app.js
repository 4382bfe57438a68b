// Starts the page: the client, the views, and the service worker.

import * as core from "./client.js";
import {h, render} from "./vendor/preact.mjs";
import {Context} from "./views/base.js";
import {Page} from "./views/shell.js";
import {watch} from "./views/notify.js";

const client = await core.start();
render(h(Context.Provider, {value: client}, h(Page)), document.getElementById("page"));
watch(client);

// Without a service worker the page works as well, but not offline. Its address is the only one that the page's security
// policy lets scripts load code from.
if ("serviceWorker" in navigator && isSecureContext) {
  const worker = window.trustedTypes?.createPolicy("worker", {createScriptURL: () => "/sw.js"}).createScriptURL("") ?? "/sw.js";
  navigator.serviceWorker.register(worker).catch(() => {});
}
