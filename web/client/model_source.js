/** What a page passes as a model or another file, in the form that the worker takes. */

import { OxiLlamaError, invalidRequest, reasonOf } from "../errors.js";

/** @import { ByteSource } from "../protocol.js" */

/**
 * @typedef {string | URL | Blob | ArrayBuffer | ReadableStream<Uint8Array>} Source  an address, a
 *   File or other Blob, the bytes themselves, or a stream of them. An ArrayBuffer or a stream is
 *   moved to the worker and cannot be used afterwards.
 */

/** llama.cpp names the files of a model in several files like this. */
const PART = /-(\d{5})-of-(\d{5})\.gguf$/i;

/**
 * @param {Source | Source[]} model
 * @returns {ByteSource[]} its files in their order
 */
export function modelFiles(model) {
  if (!Array.isArray(model)) return partsOf(toByteSource(model, "model"));
  if (model.length === 0) throw invalidRequest("model is an empty list");
  if (model.length === 1) return modelFiles(/** @type {Source} */ (model[0]));
  const numbers = model.map(partNumber);
  const files = model.map((source) => toByteSource(source, "model"));
  if (numbers.includes(null)) return files; // in the order given
  const order = files.map((file, index) => ({ file, number: Number(numbers[index]) }));
  return order.sort((one, other) => one.number - other.number).map(({ file }) => file);
}

/**
 * @param {Source} source
 * @param {string} what
 * @returns {ByteSource}
 */
export function toByteSource(source, what) {
  if (typeof source === "string" || source instanceof URL) {
    try {
      return { kind: "url", url: new URL(source, document.baseURI).href };
    } catch {
      throw invalidRequest(`${what}: "${source}" is not a web address`);
    }
  }
  if (source instanceof Blob) return { kind: "blob", blob: source };
  if (source instanceof ArrayBuffer) return { kind: "buffer", buffer: source };
  if (source instanceof ReadableStream) {
    if (source.locked) throw invalidRequest(`${what}: the stream is read by someone else`);
    return { kind: "stream", stream: source, size: null };
  }
  throw invalidRequest(
    `${what} must be an address, a File, a Blob, an ArrayBuffer or a ReadableStream of Uint8Array`,
  );
}

/**
 * @param {(ByteSource | null)[]} sources
 * @returns {Transferable[]}
 */
export function transferable(sources) {
  /** @type {Transferable[]} */
  const moved = [];
  for (const source of sources) {
    if (source?.kind === "buffer") moved.push(source.buffer);
    if (source?.kind === "stream") moved.push(source.stream);
  }
  return moved;
}

/**
 * Return all files of a model from the address of the first.
 *
 * @param {ByteSource} source
 * @returns {ByteSource[]}
 */
function partsOf(source) {
  if (source.kind !== "url") return [source];
  const url = new URL(source.url);
  const match = PART.exec(url.pathname);
  if (match === null) return [source];
  const [ending, number, count] = match;
  if (Number(number) !== 1) {
    throw invalidRequest(`${source.url} is part ${Number(number)} of a model; give the first one`);
  }
  const stem = url.pathname.slice(0, -ending.length);
  return Array.from({ length: Number(count) }, (_, index) => {
    const part = new URL(url);
    part.pathname = `${stem}-${String(index + 1).padStart(5, "0")}-of-${count}.gguf`;
    return { kind: "url", url: part.href };
  });
}

/**
 * @param {Source} source
 * @returns {number | null}
 */
function partNumber(source) {
  let name = "";
  if (source instanceof File) name = source.name;
  else if (typeof source === "string" || source instanceof URL) {
    name = String(source).replace(/[?#].*$/, "");
  }
  const number = PART.exec(name)?.[1];
  return number === undefined ? null : Number(number);
}

/**
 * @param {Blob | ArrayBuffer | Uint8Array | string | URL} file
 * @returns {Promise<Uint8Array>} its bytes
 */
export async function readFile(file) {
  if (file instanceof Uint8Array) return file;
  if (file instanceof ArrayBuffer) return new Uint8Array(file);
  if (file instanceof Blob) return new Uint8Array(await file.arrayBuffer());
  const response = await fetch(file).catch((error) => {
    throw new OxiLlamaError({ code: "network", message: `${file}: ${reasonOf(error)}` });
  });
  if (!response.ok) {
    const { status } = response;
    const message = `the server answered ${status} for ${file}`;
    throw new OxiLlamaError({ code: "http", message, status });
  }
  return new Uint8Array(await response.arrayBuffer());
}
