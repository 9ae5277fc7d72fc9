/** A way for a worker to handle its messages in between. */

const channel = new MessageChannel();
/** @type {(() => void)[]} */
const waiting = [];

channel.port1.onmessage = () => waiting.shift()?.();

/**
 * Let the event loop handle pending messages. A timer would take milliseconds longer.
 *
 * @returns {Promise<void>}
 */
export function yieldToMessages() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    channel.port2.postMessage(0);
  });
}
