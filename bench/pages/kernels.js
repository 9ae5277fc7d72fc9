// Runs one matrix product many times in a standalone kernel module: see bench/kernels.py.
// The structs are those of kernels_c/ox.h.

const OP_BYTES = 64;
const STACK_AND_DATA = 1 << 20; // the module's own memory lies below

self.onmessage = ({ data }) => {
  measureAll(...data).then(
    (speeds) => self.postMessage({ speeds }),
    (error) => self.postMessage({ error: error.message }), // nobody hears of it otherwise
  );
};

async function measureAll(base64, jobs) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const module = await WebAssembly.compile(bytes);
  const speeds = [];
  for (const job of jobs) speeds.push(await measure(module, job));
  return speeds;
}

async function measure(module, job) {
  const memory = new WebAssembly.Memory({ initial: 4096, maximum: 65536, shared: true });
  const kernels = (await WebAssembly.instantiate(module, { env: { memory } })).exports;
  const view = new DataView(memory.buffer);
  let end = STACK_AND_DATA;
  const allocate = (nBytes) => {
    const start = end;
    end = Math.ceil((end + nBytes) / 64) * 64;
    return start;
  };
  const words = (address, values) =>
    values.forEach((value, i) => view.setUint32(address + 4 * i, value, true));

  const { nOut, nIn, nTokens } = job;
  const weight = allocate(nOut * job.row.length);
  const weightBytes = new Uint8Array(memory.buffer, weight, nOut * job.row.length);
  for (let row = 0; row < nOut; row++) weightBytes.set(job.row, row * job.row.length);
  const source = allocate(4 * nTokens * nIn);
  const input = new Float32Array(memory.buffer, source, nTokens * nIn);
  for (let i = 0; i < input.length; i++) input[i] = (((i % nIn) * 7919) % 1000) / 500 - 1;
  const target = allocate(4 * nTokens * nOut);

  const tensor = allocate(32);
  words(tensor, [weight, 0, weightBytes.length, 0, job.number, 0, nIn, nOut]);
  const buffers = allocate(48);
  words(buffers, [source, 0, nTokens, nIn, 0, 0, target, 0, nTokens, nOut, 0, 0]);
  const nBytes = job.operations.length;
  const operations = allocate(nBytes * job.repeats);
  for (let i = 0; i < job.repeats; i++) {
    new Uint8Array(memory.buffer, operations + nBytes * i, nBytes).set(job.operations);
  }
  const model = allocate(80);
  const tables = [tensor, 0, 0, 0, buffers, 0, operations, 0, 0, 0];
  const nOps = (job.repeats * nBytes) / OP_BYTES;
  words(model, [...tables, 1, 0, 2, nOps, 0, 64, 0, 0, 64, 0]);
  const sequence = allocate(24);
  words(sequence, [0, 0, 0, 0, 0, nTokens]);
  const batch = allocate(40);
  words(batch, [allocate(4 * nTokens), 0, 0, 0, sequence, 0, nTokens, 0, 1, 0]);

  const packScratch = kernels.ox_pack_scratch_bytes(tensor);
  check(kernels.ox_pack(tensor, 0, nOut >> 4, allocate(Number(packScratch)), packScratch));
  view.setUint32(tensor + 20, 1, true); // packed
  check(kernels.ox_check_model(model));
  const scratchBytes = kernels.ox_scratch_bytes(model, nTokens, 1);
  const scratch = allocate(Number(scratchBytes));

  let best = Infinity;
  const start = performance.now();
  do {
    const before = performance.now();
    check(kernels.ox_forward(model, batch, scratch, scratchBytes));
    best = Math.min(best, performance.now() - before);
  } while (performance.now() - start < job.milliseconds);
  return (nOut * nIn * nTokens * job.repeats) / best / 1e6;
}

function check(status) {
  if (status !== 0) throw new Error(`a kernel returned status ${status}`);
}
