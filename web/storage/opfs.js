/** Calls of the origin-private file system, each of which is answered. */

/** @type {Set<{handle: object}>} */
const waiting = new Set();

/**
 * Call a method of a handle, and keep the handle until the answer is here: Chromium gives none once
 * the handle is garbage, and where code was minified nothing else may hold it.
 *
 * @template {object} Handle
 * @template Answer
 * @param {Handle} handle
 * @param {(handle: Handle) => Promise<Answer>} call
 * @returns {Promise<Answer>}
 */
export async function ask(handle, call) {
  const request = { handle };
  waiting.add(request);
  try {
    return await call(handle);
  } finally {
    waiting.delete(request);
  }
}

/**
 * The names of the files in a folder.
 *
 * @param {FileSystemDirectoryHandle} folder
 */
export function fileNames(folder) {
  return ask(folder, async () => {
    const names = [];
    for await (const name of folder.keys()) names.push(name);
    return names;
  });
}
