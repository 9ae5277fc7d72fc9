// Runs matrix products in a standalone kernel module: see test_wasm_kernels.py.
// The structs are those of kernels_c/ox.h.

const LINEAR = 3;
const STACK_AND_DATA = 1 << 20; // the module's own memory lies below

/**
 * @param {string} moduleBase64
 * @param {{ format: number, nOut: number, nIn: number, nTokens: number,
 *     weight: string, input: string }[]} jobs bytes in base64; input: float32, a row for each token
 * @returns {Promise<(number[] | null)[]>} bits of the float32 outputs; null: format not supported
 */
export async function multiply(moduleBase64, jobs) {
  const module = await WebAssembly.compile(bytesOf(moduleBase64));
  const outputs = [];
  for (const job of jobs) outputs.push(await product(module, job));
  return outputs;
}

async function product(module, { format, nOut, nIn, nTokens, weight, input }) {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 65536 });
  const kernels = (await WebAssembly.instantiate(module, { env: { memory } })).exports;
  if (!kernels.ox_format_supported(format)) return null;
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

  const weightBytes = bytesOf(weight);
  const source = place(bytesOf(input));
  const target = allocate(4 * nTokens * nOut);
  const tensor = words(place(weightBytes), 0, weightBytes.length, 0, format, 0, nIn, nOut);
  const buffers = words(source, 0, nTokens, nIn, 0, 0, target, 0, nTokens, nOut, 0, 0);
  const operation = words(LINEAR, 1, 0, -1, 1, 0, -1, ...Array(9).fill(0));
  const model = words(tensor, 0, buffers, 0, operation, 0, 0, 0, 1, 2, 1, 0, 64, 0, 64, 0);
  const sequence = words(0, 0, 0, 0, 0, nTokens);
  const batch = words(allocate(4 * nTokens), 0, 0, 0, sequence, 0, nTokens, 0, 1, 0);

  const packBytes = kernels.ox_pack_scratch_bytes(tensor);
  const packScratch = allocate(Number(packBytes));
  check(kernels.ox_pack(tensor, 0, nOut >> 4, packScratch, packBytes));
  new DataView(memory.buffer).setUint32(tensor + 20, 1, true); // packed
  check(kernels.ox_check_model(model));
  const scratchBytes = kernels.ox_scratch_bytes(model, nTokens, 1);
  check(kernels.ox_forward(model, batch, allocate(Number(scratchBytes)), scratchBytes));
  return Array.from(new Uint32Array(memory.buffer, target, nTokens * nOut));
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function check(status) {
  if (status !== 0) throw new Error(`a kernel returned status ${status}`);
}
