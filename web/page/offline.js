/** The page without a network: its service worker keeps all its files. */

/**
 * @param {boolean} isolates  whether the service worker also isolates the page (isolation.js)
 */
export async function keepPage(isolates) {
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register(isolates ? "sw.js" : "sw.js?isolation=off");
    const { active } = await navigator.serviceWorker.ready;
    active?.postMessage("keep");
    // or the browser may delete models and conversations when it needs room
    await navigator.storage?.persist?.();
  } catch (error) {
    console.warn("oxillama: the page cannot be saved for visits without a network:", error);
  }
}
