// The service worker: the page opens without the network. The server writes the folder of this version in place of HASH;
// so each version has a worker, and a cache, of its own.

const FOLDER = "/a/HASH/";
const CACHE = `page ${FOLDER}`;
/** How long the network may take to bring the page before the cached one is shown, in milliseconds. */
const PATIENCE = 3000;

addEventListener("install", (event) => {
  event.waitUntil(fill().then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil(dropOthers().then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (url.pathname.startsWith(FOLDER)) event.respondWith(file(request));
  else if (request.mode === "navigate" && url.pathname === "/") event.respondWith(page(request));
});

/** Fetches the page, and the files that it names, which are all that it needs. */
async function fill() {
  const cache = await caches.open(CACHE);
  const answer = await fetch("/", { cache: "no-cache" });
  const text = await answer.clone().text();
  if (!answer.ok || !text.includes(FOLDER)) throw new Error("The server has another version already.");
  const names = new Set([...text.matchAll(/(?:href|src)="(\/a\/[^"]+)"/g)].map(([, name]) => name));
  await cache.addAll([...names]);
  await cache.put("/", answer);
}

async function dropOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("page ") && name !== CACHE).map((name) => caches.delete(name)));
}

/** A file of this version never changes. @param {Request} request */
async function file(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreVary: true });
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.ok) await cache.put(request, answer.clone());
  return answer;
}

/** The network first, so that nobody is shown an old version for ever. @param {Request} request */
async function page(request) {
  const cache = await caches.open(CACHE);
  const fresh = fetch(request);
  fresh.catch(() => {}); // is looked at below, or too late
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  try {
    const answer = await Promise.race([fresh, late]);
    if (answer) return answer;
  } catch {
    // no network
  }
  return (await cache.match("/", { ignoreVary: true })) ?? fresh;
}
