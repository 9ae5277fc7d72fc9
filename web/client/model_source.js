/** What a page gives as a model, as the worker takes it. */

import { OxiLlamaError } from "../errors.js";

/** @import { ByteSource } from "../protocol.js" */

/**
 * @typedef {string | URL | Blob | ArrayBuffer | ReadableStream<Uint8Array>} Source  an address, a
 *   File or other Blob, the bytes themselves, or a stream of them. An ArrayBuffer or a stream is
 *   moved to the worker and cannot be used afterwards.
 */

/** How llama.cpp names the files of a model that is in several. */
const PART = /-(\d{5})-of-(\d{5})\.gguf$/i;

/**
 * @param {Source | Source[]} model
 * @returns {ByteSource[]} its files in their order
 */
export function modelFiles(model) {
  if (!Array.isArray(model)) return partsOf(toByteSource(model, "model"));
  if (model.length === 0) throw invalid("model is an empty list");
  if (model.length === 1) return modelFiles(/** @type {Source} */ (model[0]));
  const numbers = model.map(partNumber);
  const files = model.map((source) => toByteSource(source, "model"));
  if (numbers.includes(null)) return files; // as they were given
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
      throw invalid(`${what}: "${source}" is not a web address`);
    }
  }
  if (source instanceof Blob) return { kind: "blob", blob: source };
  if (source instanceof ArrayBuffer) return { kind: "buffer", buffer: source };
  if (source instanceof ReadableStream) {
    if (source.locked) throw invalid(`${what}: the stream is read by someone else`);
    return { kind: "stream", stream: source, size: null };
  }
  throw invalid(
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
 * All files of a model, from the address of the first.
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
    throw invalid(`${source.url} is part ${Number(number)} of a model; give the first one`);
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

/** @param {string} message */
function invalid(message) {
  return new OxiLlamaError({ code: "invalid_request", message });
}
