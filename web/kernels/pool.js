/**
 * The C kernels over a memory of their own, outside of Python's: on several threads where the page
 * is cross-origin isolated, else on one. Python drives it through oxillama_web/backends/kernels/wasm.py.
 */

import { KernelHeap } from "./heap.js";
import { checkVersion, compile } from "./module.js";
import { OxiLlamaError } from "../errors.js";

/** @import { ThreadReply, ThreadStart } from "./thread.js" */
/** @import { StartThreadReply } from "../protocol.js" */

/** 4 GiB, all that a 32-bit address reaches. */
const MOST_PAGES = 65536;
const LEAST_PAGES = 4096;
/** A browser that has no room for all addresses may have some for fewer. */
const FIRST_PAGES = 16;
const STACK_BYTES = 1 << 17;
/** A thread that keeps the others waiting for longer hangs, or is no more. */
const PATIENCE_MS = 30_000;
const START_MS = 20_000;
/** More than that read memory faster than it can give. */
const MOST_THREADS = 4;
const BROKEN_POOL = 6;
const Q4_0 = 2;

/** As RELAXED_DOT in oxillama_web/backends/kernels/library.py. */
const RELAXED_DOT = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x07, 0x01, 0x60, 0x02, 0x7f, 0x7f, 0x01,
  0x7f, 0x03, 0x02, 0x01, 0x00, 0x07, 0x07, 0x01, 0x03, 0x64, 0x6f, 0x74, 0x00, 0x00, 0x0a, 0x16,
  0x01, 0x14, 0x00, 0x20, 0x00, 0xfd, 0x0f, 0x20, 0x01, 0xfd, 0x0f, 0x41, 0x00, 0xfd, 0x11, 0xfd,
  0x93, 0x02, 0xfd, 0x1b, 0x00, 0x0b,
]);

/**
 * @typedef {"relaxed" | "relaxed-pairs" | "simd128"} Variant
 *
 * @typedef {object} Threading
 * @property {number} threads
 * @property {string} note  why there are not more; "" where nothing stands in the way
 */

/**
 * @param {number | null} wanted  threads; null: as many as help
 * @returns {Promise<KernelPool>}
 */
export async function openKernels(wanted) {
  try {
    const threading = chooseThreads(wanted);
    const pool = await KernelPool.open(bestVariant(), threading);
    // a relaxed dot product may give other numbers than those it was chosen for
    if (pool.functions.ox_format_supported(Q4_0)) return await pool.start();
    return await (await KernelPool.open("simd128", threading)).start();
  } catch (error) {
    if (error instanceof OxiLlamaError) throw error;
    throw new OxiLlamaError({
      code: "kernel",
      message: `this browser cannot run the kernels: ${reasonOf(error)}`,
      detail: error instanceof Error ? error.stack : "",
    });
  }
}

/**
 * Whether the relaxed dot product is one instruction of the processor; else the one of pairs is
 * (docs/kernels.md).
 *
 * @returns {Variant}
 */
function bestVariant() {
  if (!WebAssembly.validate(RELAXED_DOT)) return "simd128";
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(RELAXED_DOT));
  const product = /** @type {(a: number, b: number) => number} */ (exports.dot)(127, 255);
  return product === 4 * 127 * 255 || product === -4 * 127 ? "relaxed" : "relaxed-pairs";
}

/**
 * @param {number | null} wanted
 * @returns {Threading}
 */
export function chooseThreads(wanted) {
  if (wanted !== null && !(Number.isInteger(wanted) && wanted >= 1 && wanted <= 64)) {
    throw new OxiLlamaError({
      code: "invalid_request",
      message: `threads is ${wanted}; it must be a whole number, 1 to 64`,
    });
  }
  if (self.crossOriginIsolated) return { threads: wanted ?? usefulThreads(), note: "" };
  const note =
    "one thread, for the page is not cross-origin isolated: its server must send the headers " +
    "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
  return { threads: 1, note: wanted === 1 ? "" : note };
}

/** Two logical processors often are one core. */
function usefulThreads() {
  const processors = navigator.hardwareConcurrency || 1;
  return processors <= 2 ? processors : Math.min(MOST_THREADS, Math.max(2, processors >> 1));
}

export class KernelPool {
  #memory;
  #module;
  #kernels;
  #heap;
  /** @type {Promise<void>[]} */
  #endings = [];
  /** Address of the pool's state; 0 with one thread. */
  #pool = 0;
  #closed = false;

  /** What went wrong with a thread. */
  failure = "";

  /**
   * @param {Variant} variant
   * @param {Threading} threading
   */
  static async open(variant, { threads, note }) {
    const shared = self.crossOriginIsolated;
    const file = `ox-${shared ? "shared" : "single"}-${variant}.wasm`;
    const module = await compile(file);
    const memory = createMemory(shared);
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    checkVersion(file, exports);
    return new KernelPool(variant, threads, note, memory, module, exports);
  }

  /**
   * @param {Variant} variant
   * @param {number} threads
   * @param {string} note
   * @param {WebAssembly.Memory} memory
   * @param {WebAssembly.Module} module
   * @param {WebAssembly.Exports} exports
   */
  constructor(variant, threads, note, memory, module, exports) {
    /** @readonly */
    this.variant = variant;
    /** @readonly */
    this.threads = threads;
    /** @readonly */
    this.note = note;
    /** @readonly */
    this.isolated = self.crossOriginIsolated;
    this.#memory = memory;
    this.#module = module;
    const kernels = /** @type {any} */ (exports);
    this.#kernels = kernels;
    this.#heap = new KernelHeap(memory, kernels.__heap_base.value);
    /** The kernels that Python calls at load; 64-bit numbers are BigInt in WebAssembly. */
    this.functions = {
      ox_abi_version: kernels.ox_abi_version,
      ox_format_supported: kernels.ox_format_supported,
      ox_check_model: kernels.ox_check_model,
      ox_kv_shift: kernels.ox_kv_shift,
      ox_pack_scratch_bytes: (/** @type {number} */ tensor) =>
        Number(kernels.ox_pack_scratch_bytes(tensor)),
      ox_pack: (
        /** @type {number} */ tensor,
        /** @type {number} */ first,
        /** @type {number} */ count,
        /** @type {number} */ scratch,
        /** @type {number} */ bytes,
      ) => kernels.ox_pack(tensor, first, count, scratch, BigInt(bytes)),
      ox_scratch_bytes: (
        /** @type {number} */ model,
        /** @type {number} */ tokens,
        /** @type {number} */ threads,
      ) => Number(kernels.ox_scratch_bytes(model, tokens, threads)),
    };
  }

  /**
   * Start the other threads.
   *
   * @returns {Promise<KernelPool>} itself, once all of them are there
   */
  async start() {
    if (this.threads === 1) return this;
    this.#pool = this.allocate(this.#kernels.ox_pool_bytes());
    this.#kernels.ox_pool_init(this.#pool, this.threads, PATIENCE_MS);
    try {
      const others = Array.from({ length: this.threads - 1 }, (_, i) => this.#startThread(i + 1));
      await within(START_MS, Promise.all(others));
    } catch (error) {
      void this.close();
      throw new OxiLlamaError({
        code: "kernel",
        message: `a thread could not be started (${reasonOf(error)}); load with threads: 1`,
      });
    }
    return this;
  }

  /**
   * @param {number} bytes
   * @returns {number} the address of zeroed bytes; 0 where there is no room
   */
  allocate(bytes) {
    return this.#heap.allocate(bytes);
  }

  /**
   * @param {number} address  of the block that lies last
   * @param {number} bytes  its new size
   * @returns {boolean} false where there is no room
   */
  resizeLast(address, bytes) {
    return this.#heap.resizeLast(address, bytes);
  }

  /** @param {number} address */
  free(address) {
    if (!this.#closed) this.#heap.free(address);
  }

  /**
   * @param {number} address
   * @param {number} bytes
   * @returns {Uint8Array} the memory itself, until it grows
   */
  view(address, bytes) {
    return new Uint8Array(this.#memory.buffer, address, bytes);
  }

  /**
   * @param {number} model
   * @param {number} batch
   * @param {number} scratch
   * @param {number} scratchBytes
   * @returns {number} a status of kernels_c/ox.h
   */
  forward(model, batch, scratch, scratchBytes) {
    if (this.failure !== "") return BROKEN_POOL;
    const size = BigInt(scratchBytes);
    try {
      return this.#pool === 0
        ? this.#kernels.ox_forward(model, batch, scratch, size)
        : this.#kernels.ox_pool_forward(this.#pool, model, batch, scratch, size);
    } catch (error) {
      this.#fail(reasonOf(error));
      return BROKEN_POOL;
    }
  }

  /**
   * End the threads and let go of the memory.
   *
   * @returns {Promise<unknown>} once no thread sleeps in a kernel any more
   */
  close() {
    this.failure ||= "the model was closed";
    if (this.#pool !== 0) this.#kernels.ox_pool_poison(this.#pool);
    this.#closed = true;
    this.#pool = 0;
    this.#kernels = this.#memory = this.#heap = /** @type {any} */ (null);
    return Promise.all(this.#endings);
  }

  /** @param {number} thread */
  #startThread(thread) {
    const [channel, failures] = [new MessageChannel(), new MessageChannel()];
    /** @type {ThreadStart} */
    const start = {
      module: this.#module,
      memory: this.#memory,
      stackTop: this.allocate(STACK_BYTES) + STACK_BYTES,
      pool: this.#pool,
      thread,
    };
    return new Promise((resolve, reject) => {
      let end = () => {};
      this.#endings.push(new Promise((resolve) => (end = resolve)));
      const fail = (/** @type {string} */ reason) => {
        this.#fail(reason);
        reject(new Error(reason));
        end();
      };
      channel.port1.onmessage = ({ data }) => {
        const reply = /** @type {ThreadReply} */ (data);
        if ("failed" in reply) fail(reply.failed);
        else if ("ended" in reply) end();
        else resolve(undefined);
      };
      failures.port1.onmessage = ({ data }) => fail(data);
      const [port, failure] = [channel.port2, failures.port2];
      /** @type {StartThreadReply} */
      const asking = { type: "startThread", port, failure };
      self.postMessage(asking, { transfer: [port, failure] });
      channel.port1.postMessage(start);
    });
  }

  /** @param {string} reason */
  #fail(reason) {
    this.failure ||= reason;
    if (this.#pool !== 0 && !this.#closed) this.#kernels.ox_pool_poison(this.#pool);
  }
}

/** @param {boolean} shared */
function createMemory(shared) {
  for (let maximum = MOST_PAGES; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared });
    } catch (error) {
      if (maximum <= LEAST_PAGES) throw error;
    }
  }
}

/**
 * @template T
 * @param {number} milliseconds
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
async function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer")), milliseconds);
  });
  try {
    return await /** @type {Promise<T>} */ (Promise.race([promise, late]));
  } finally {
    clearTimeout(timer);
  }
}

/** @param {unknown} error */
function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}
