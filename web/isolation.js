/**
 * Makes a page cross-origin isolated, as threads need it, where its host cannot send headers.
 *
 *     await isolatePage(); // first of all: it may load the page anew
 *
 * An isolated page cannot show what other sites do not offer for it, as images or frames without
 * CORS or CORP. So nothing does this but the page itself.
 */

const TRIED = "oxillama: tried to isolate this page";
const CONTROL_MS = 5_000;

/**
 * Where the page is not isolated yet: installs the service worker, which adds the headers, and
 * loads the page anew; then the promise stays pending. It tries once a tab.
 *
 * @param {string | URL} [serviceWorker]  its address; it works for pages of its own folder
 * @returns {Promise<boolean>} whether the page is isolated
 */
export async function isolatePage(serviceWorker = new URL("./sw.js", import.meta.url)) {
  if (window.crossOriginIsolated) {
    sessionStorage.removeItem(TRIED);
    return true;
  }
  // a framed page is as isolated as the page around it
  const possible = window.isSecureContext && "serviceWorker" in navigator && window.top === window;
  if (!possible || sessionStorage.getItem(TRIED) !== null) return false;
  try {
    sessionStorage.setItem(TRIED, "yes");
    await navigator.serviceWorker.register(serviceWorker);
    if (!(await isControlled())) return false;
  } catch (error) {
    console.warn("oxillama: the page cannot be isolated, so it has one thread:", error);
    return false;
  }
  location.reload();
  return new Promise(() => {});
}

/** @returns {Promise<boolean>} whether a service worker took over in time */
function isControlled() {
  const { serviceWorker } = navigator;
  if (serviceWorker.controller !== null) return Promise.resolve(true);
  return new Promise((resolve) => {
    setTimeout(() => resolve(false), CONTROL_MS);
    serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
  });
}
