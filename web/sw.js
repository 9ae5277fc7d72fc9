/**
 * The page's service worker: adds the headers that threads need where the host does not send them,
 * and serves the page without a network. A page that embeds the library need not have it.
 *
 *     sw.js                  both
 *     sw.js?isolation=off    the page without a network only
 */

/** @typedef {{version: string, files: string[]}} Precache  written by tools/make_site.py */

const ISOLATES = new URL(self.location.href).searchParams.get("isolation") !== "off";
const PRECACHE = loadPrecache();
const CACHE = `oxillama-site-${PRECACHE.version}`;
/** The message of a page that wants to be opened without a network, too. */
const KEEP = "keep";
/** Changes without the page: the last one that was seen serves. */
const MODEL_LIST = "models/models.json";

self.addEventListener("install", () => void worker().skipWaiting());
self.addEventListener("activate", (event) => {
  /** @type {any} */ (event).waitUntil(worker().clients.claim());
});
self.addEventListener("message", (event) => {
  if (event.data === KEEP) /** @type {any} */ (event).waitUntil(keepSite());
});
self.addEventListener("fetch", (event) => {
  const { request, respondWith } = /** @type {any} */ (event);
  if (isOfThisSite(request) && !isPart(request)) respondWith.call(event, answer(request));
});

/** @param {Request} request */
async function answer(request) {
  const response = await fetchOrRecall(request);
  return ISOLATES && needsIsolation(request) ? isolated(response) : response;
}

// --- without a network

/** @returns {Precache} */
function loadPrecache() {
  try {
    worker().importScripts("./precache.js");
    return worker().PRECACHE;
  } catch {
    return { version: "none", files: [] }; // a site that was put together in another way
  }
}

/** All files or none; those of other versions go when these are here. */
async function keepSite() {
  const names = await caches.keys();
  if (PRECACHE.files.length === 0) return;
  const cache = await caches.open(CACHE);
  if ((await cache.match(PRECACHE.files[0] ?? "")) === undefined) {
    await cache.addAll(PRECACHE.files.map((file) => new Request(file, { cache: "no-cache" })));
    await cache.add(MODEL_LIST).catch(() => {}); // a site without models has none
  }
  const old = names.filter((name) => name.startsWith("oxillama-site-") && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

/**
 * The network's answer; where there is none, what was kept.
 *
 * @param {Request} request
 */
async function fetchOrRecall(request) {
  try {
    const response = await fetch(request);
    if (response.ok && request.url.endsWith(MODEL_LIST)) {
      await (await caches.open(CACHE)).put(request, response.clone());
    }
    return response;
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: true, ignoreVary: true });
    if (kept === undefined) throw error;
    return kept;
  }
}

/** @param {Request} request */
function isOfThisSite({ method, url }) {
  return method === "GET" && new URL(url).origin === self.location.origin;
}

/**
 * Parts of files, that is models, come straight to those who asked for them.
 *
 * @param {Request} request
 */
function isPart({ headers }) {
  return headers.has("Range");
}

// --- isolation: a page whose headers say so may share memory between threads (HTML standard)

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/**
 * Documents and workers say whether they are isolated; what they fetch from here need not.
 *
 * @param {Request} request
 */
function needsIsolation({ destination }) {
  return ["document", "iframe", "worker", "sharedworker"].includes(destination);
}

/** @param {Response} response */
function isolated(response) {
  // a redirect of a navigation is not to be looked into
  if (response.type === "opaqueredirect") return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}

/** @returns {any} the global scope, as what it is: TypeScript takes it for a window */
function worker() {
  return self;
}
