/** Turns of a worker's event loop. */

const channel = new MessageChannel();
/** @type {(() => void)[]} */
const waiting = [];

channel.port1.onmessage = () => waiting.shift()?.();

/**
 * Let waiting messages in, at once: a timer would be held back by milliseconds.
 *
 * @returns {Promise<void>}
 */
export function yieldToMessages() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    channel.port2.postMessage(0);
  });
}
