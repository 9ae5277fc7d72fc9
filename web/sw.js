/**
 * The page's service worker: it adds the headers that threads need if the host does not send them,
 * and serves the page when there is no network. A page that embeds the library does not need it.
 *
 *     sw.js                  does both
 *     sw.js?isolation=off    only serves the page when there is no network
 */

/** @typedef {{version: string, files: string[]}} Precache  written by tools/make_site.py */

const ISOLATES = new URL(self.location.href).searchParams.get("isolation") !== "off";
const PRECACHE = loadPrecache();
const CACHE = `oxillama-site-${PRECACHE.version}`;
/** The message of a page that wants to be kept for visits without a network. */
const KEEP = "keep";
/** It changes independently of the page: the last version that was seen is kept. */
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
  if (isOfThisSite(request) && !isPart(request)) respondWith.call(event, respond(request));
});

/** @param {Request} request */
async function respond(request) {
  const response = await fetchOrKept(request);
  return ISOLATES && needsIsolation(request) ? isolated(response) : response;
}

// --- visits without a network

/** @returns {Precache} */
function loadPrecache() {
  try {
    worker().importScripts("./precache.js");
    return worker().PRECACHE;
  } catch {
    return { version: "none", files: [] }; // the site was built in another way
  }
}

/** Keep all files or none, and then delete those of other versions. */
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
 * Return the network's response, or else the kept one.
 *
 * @param {Request} request
 */
async function fetchOrKept(request) {
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
 * Return whether a part of a file is requested. Those are of models, and are not handled here.
 *
 * @param {Request} request
 */
function isPart({ headers }) {
  return headers.has("Range");
}

// --- isolation: with these headers a page may share memory between threads (HTML standard)

const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

/**
 * Return whether the response needs the headers: those of documents and workers do.
 *
 * @param {Request} request
 */
function needsIsolation({ destination }) {
  return ["document", "iframe", "worker", "sharedworker"].includes(destination);
}

/** @param {Response} response */
function isolated(response) {
  // a redirect of a navigation is opaque
  if (response.type === "opaqueredirect") return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}

/** @returns {any} the global scope, which TypeScript takes for a window */
function worker() {
  return self;
}
