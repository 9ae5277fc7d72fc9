/** The replies of a request, as an async iterator. */

/**
 * Yield what a request brings, and return its result. Leaving the loop aborts the request.
 *
 * @template Item, Result
 * @param {(push: (item: Item) => void) => Promise<Result> & {abort: () => void}} begin  makes the
 *   request, and passes on what comes of it
 * @param {AbortSignal} [signal]  aborts the request, too
 * @returns {AsyncGenerator<Item, Result, void>}
 */
export async function* stream(begin, signal) {
  /** @type {Item[]} */
  const items = [];
  let wake = () => {};
  let running = true;
  const end = begin((item) => {
    items.push(item);
    wake();
  });
  const settled = end.catch(() => {}).then(() => {
    running = false;
    wake();
  });
  const stop = () => end.abort();
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  try {
    while (running || items.length > 0) {
      const [item] = items.splice(0, 1);
      if (item !== undefined) yield item;
      else await new Promise((resolve) => (wake = () => resolve(undefined)));
    }
    return await end;
  } finally {
    signal?.removeEventListener("abort", stop);
    if (running) stop();
    await settled;
  }
}
