// Runs matrix products and attention in a standalone kernel module: see test_wasm_kernels.py.
// The structs are those of kernels_c/ox.h.

const OP_BYTES = 64;
const STACK_AND_DATA = 1 << 20; // the module's own memory lies below

/**
 * @param {string} moduleBase64
 * @param {{ format: number, nOut: number, nIn: number, nTokens: number, operations: string,
 *     weight: string, input: string }[]} jobs bytes in base64; operations: rows of ox_op; input:
 *     float32, a row for each token
 * @returns {Promise<(string | null)[]>} float32 outputs in base64; null: format not supported
 */
export async function multiply(moduleBase64, jobs) {
  const module = await WebAssembly.compile(bytesOf(moduleBase64));
  const outputs = [];
  for (const job of jobs) outputs.push(await product(module, job));
  return outputs;
}

async function product(module, { format, nOut, nIn, nTokens, operations, weight, input }) {
  const { kernels, memory, allocate, place, words } = await instantiate(module);
  if (!kernels.ox_format_supported(format)) return null;
  const weightBytes = bytesOf(weight);
  const source = place(bytesOf(input));
  const target = allocate(4 * nTokens * nOut);
  const tensor = words(place(weightBytes), 0, weightBytes.length, 0, format, 0, nIn, nOut);
  const buffers = words(source, 0, nTokens, nIn, 0, 0, target, 0, nTokens, nOut, 0, 0);
  const rows = bytesOf(operations);
  const tables = [tensor, 0, 0, 0, buffers, 0, place(rows), 0, 0, 0];
  const model = words(...tables, 1, 0, 2, rows.length / OP_BYTES, 0, 64, 0, 0, 64, 0);
  const sequence = words(0, 0, 0, 0, 0, nTokens);
  const batch = words(allocate(4 * nTokens), 0, 0, 0, sequence, 0, nTokens, 0, 1, 0);

  const packBytes = kernels.ox_pack_scratch_bytes(tensor);
  const packScratch = allocate(Number(packBytes));
  check(kernels.ox_pack(tensor, 0, nOut >> 4, packScratch, packBytes));
  new DataView(memory.buffer).setUint32(tensor + 20, 1, true); // packed
  check(kernels.ox_check_model(model));
  const scratchBytes = kernels.ox_scratch_bytes(model, nTokens, 1);
  check(kernels.ox_forward(model, batch, allocate(Number(scratchBytes)), scratchBytes));
  return base64Of(new Uint8Array(memory.buffer, target, 4 * nTokens * nOut));
}

/**
 * @param {string} moduleBase64
 * @param {{ operations: string, nHeads: number, nKvHeads: number, dim: number, kvFormat: number,
 *     tileBytes: number, chunks: number[], q: string, k: string, v: string }} job operations, q, k
 *     and v in base64: rows of ox_op; float32, a row for each token. chunks: tokens that go through
 *     together.
 * @returns {Promise<string>} float32 outputs in base64, a row for each token
 */
export async function attend(moduleBase64, job) {
  const { nHeads, nKvHeads, dim, chunks } = job;
  const module = await WebAssembly.compile(bytesOf(moduleBase64));
  const { kernels, memory, allocate, place, words } = await instantiate(module);
  const nTokens = chunks.reduce((sum, n) => sum + n, 0);
  const widths = [nHeads * dim, nKvHeads * dim, nKvHeads * dim];
  const inputs = [job.q, job.k, job.v].map(bytesOf);
  const addresses = widths.map((width) => allocate(4 * nTokens * width));
  const target = allocate(4 * nTokens * widths[0]);
  const buffers = words(
    ...[0, 1, 2].flatMap((i) => [addresses[i], 0, nTokens, widths[i], 0, 0]),
    ...[target, 0, nTokens, widths[0], 0, 0],
  );
  const half = nKvHeads * job.tileBytes; // a page holds 64 positions' keys, then values
  const layer = words(0, 0, half, 0, nKvHeads, dim, dim, 0);
  const pages = Array.from({ length: Math.ceil(nTokens / 64) }, () => allocate(2 * half));
  const pageTable = words(...pages.flatMap((page) => [page, 0]));
  const rows = bytesOf(job.operations);
  const tables = [0, 0, 0, 0, buffers, 0, place(rows), 0, layer, 0];
  const counts = [0, 0, 4, rows.length / OP_BYTES, 1];
  const model = words(...tables, ...counts, 64, job.kvFormat, 0, 2 * half, 0);
  check(kernels.ox_check_model(model));
  const scratchBytes = kernels.ox_scratch_bytes(model, nTokens, 1);
  const scratch = allocate(Number(scratchBytes));
  const outputs = new Uint8Array(4 * nTokens * widths[0]);
  let position = 0;
  for (const n of chunks) {
    inputs.forEach((bytes, i) => {
      const part = bytes.subarray(4 * position * widths[i], 4 * (position + n) * widths[i]);
      new Uint8Array(memory.buffer).set(part, addresses[i]);
    });
    const sequence = words(pageTable, 0, pages.length, position, 0, n);
    const batch = words(allocate(4 * n), 0, 0, 0, sequence, 0, n, 0, 1, 0);
    check(kernels.ox_forward(model, batch, scratch, scratchBytes));
    const results = new Uint8Array(memory.buffer, target, 4 * n * widths[0]);
    outputs.set(results, 4 * position * widths[0]);
    position += n;
  }
  return base64Of(outputs);
}

/** A module's instance, and functions that put things into its memory. */
async function instantiate(module) {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 65536 });
  const kernels = (await WebAssembly.instantiate(module, { env: { memory } })).exports;
  let end = STACK_AND_DATA;
  const allocate = (nBytes) => {
    const start = end;
    end = Math.ceil((end + nBytes) / 64) * 64;
    if (end > memory.buffer.byteLength) throw new Error("the memory is too small");
    return start;
  };
  const place = (bytes) => {
    const address = allocate(bytes.length);
    new Uint8Array(memory.buffer).set(bytes, address);
    return address;
  };
  const words = (...values) => place(new Uint8Array(Uint32Array.from(values).buffer));
  return { kernels, memory, allocate, place, words };
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function base64Of(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function check(status) {
  if (status !== 0) throw new Error(`a kernel returned status ${status}`);
}
