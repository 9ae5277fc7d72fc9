/** Calls of the origin-private file system that are certain to be answered. */

/** @type {Set<{handle: object}>} */
const pending = new Set();

/**
 * Call a method of a handle, and hold on to the handle until the call returns. Chromium never
 * answers once the handle is garbage, and in minified code nothing else may refer to it.
 *
 * @template {object} Handle
 * @template Answer
 * @param {Handle} handle
 * @param {(handle: Handle) => Promise<Answer>} call
 * @returns {Promise<Answer>}
 */
export async function withHandle(handle, call) {
  const request = { handle };
  pending.add(request);
  try {
    return await call(handle);
  } finally {
    pending.delete(request);
  }
}

/**
 * The names of the files in a folder.
 *
 * @param {FileSystemDirectoryHandle} folder
 */
export function fileNames(folder) {
  return withHandle(folder, async () => {
    const names = [];
    for await (const name of folder.keys()) names.push(name);
    return names;
  });
}
