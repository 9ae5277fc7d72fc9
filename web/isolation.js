/**
 * Makes a page cross-origin isolated, which threads need, if its host cannot send the headers.
 *
 *     await isolatePage(); // before anything else: it may reload the page
 *
 * An isolated page cannot show images or frames of other sites without CORS or CORP. So the library
 * never does this by itself.
 */

const TRIED = "oxillama: tried to isolate this page";
const CONTROL_TIMEOUT_MS = 5_000;

/**
 * Isolate the page if it is not yet: install the service worker, which adds the headers, and reload
 * the page, with the promise still pending. It tries once per tab.
 *
 * @param {string | URL} [serviceWorker]  its address; it serves the pages in its folder
 * @returns {Promise<boolean>} whether the page is isolated
 */
export async function isolatePage(serviceWorker = new URL("./sw.js", import.meta.url)) {
  if (window.crossOriginIsolated) {
    sessionStorage.removeItem(TRIED);
    return true;
  }
  // a framed page depends on the page around it
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

/** @returns {Promise<boolean>} whether a service worker controls the page in time */
function isControlled() {
  const { serviceWorker } = navigator;
  if (serviceWorker.controller !== null) return Promise.resolve(true);
  return new Promise((resolve) => {
    setTimeout(() => resolve(false), CONTROL_TIMEOUT_MS);
    serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
  });
}
