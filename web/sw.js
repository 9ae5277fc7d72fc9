/**
 * The page's service worker. isolation.js registers it where the host does not send the headers
 * that threads need; a page that embeds the library need not have it.
 */

self.addEventListener("install", () => void worker().skipWaiting());
self.addEventListener("activate", (event) => {
  /** @type {any} */ (event).waitUntil(worker().clients.claim());
});
self.addEventListener("fetch", (event) => {
  const { request, respondWith } = /** @type {any} */ (event);
  if (needsIsolation(request)) respondWith.call(event, isolated(request));
});

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
function needsIsolation({ destination, url }) {
  const kinds = ["document", "iframe", "worker", "sharedworker"];
  return kinds.includes(destination) && new URL(url).origin === self.location.origin;
}

/** @param {Request} request */
async function isolated(request) {
  const response = await fetch(request);
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
