/**
 * The C kernels over a memory of their own, outside of Python's: on several threads if the page is
 * cross-origin isolated, else on one. Python calls them through
 * oxillama_web/backends/kernels/wasm.py.
 */

import { OxiLlamaError, invalidRequest, reasonOf, toOxiLlamaError } from "../errors.js";
import { KernelHeap } from "./heap.js";
import { checkVersion, compile } from "./module.js";

/** @import { StartThreadReply } from "../protocol.js" */
/** @import { ThreadReply, ThreadStart } from "./thread.js" */

const FIRST_PAGES = 16;
/** 4 GiB, all that a 32-bit address reaches. */
const MAX_PAGES = 65536;
/** A browser that has no room for that many addresses may have some for fewer: at least these. */
const MIN_PAGES = 4096;
const STACK_BYTES = 1 << 17;
/** A thread that keeps the others waiting for longer than this hangs, or has ended. */
const THREAD_TIMEOUT_MS = 30_000;
const START_TIMEOUT_MS = 20_000;
/** More threads than this do not help: the memory's bandwidth is the limit. */
const MAX_USEFUL_THREADS = 4;
/** ggml's number of the format. */
const Q4_0 = 2;

/** RELAXED_DOT of oxillama_web/backends/kernels/library.py. */
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
 * @property {string} note  why there are not more; "" if nothing prevents it
 */

/**
 * @param {number | null} wanted  threads; null: as many as help
 * @returns {Promise<KernelPool>}
 */
export async function openKernels(wanted) {
  try {
    const threading = chooseThreads(wanted);
    const pool = await KernelPool.open(bestVariant(), threading);
    // the kernels check that their relaxed dot product is exact
    if (pool.functions.ox_format_supported(Q4_0)) return await pool.start();
    return await (await KernelPool.open("simd128", threading)).start();
  } catch (error) {
    throw toOxiLlamaError(error, "kernel", "this browser cannot run the kernels");
  }
}

/**
 * Choose by the instruction that the browser makes of a relaxed dot product (docs/kernels.md).
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
    throw invalidRequest(`threads is ${wanted}; it must be a whole number, 1 to 64`);
  }
  if (self.crossOriginIsolated) return { threads: wanted ?? usefulThreads(), note: "" };
  const note =
    "one thread, since the page is not cross-origin isolated: its server must send the headers " +
    "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
  return { threads: 1, note: wanted === 1 ? "" : note };
}

/** Guess the number of cores: two logical processors are often one. */
function usefulThreads() {
  const processors = navigator.hardwareConcurrency || 1;
  return processors <= 2 ? processors : Math.min(MAX_USEFUL_THREADS, Math.max(2, processors >> 1));
}

export class KernelPool {
  #memory;
  #module;
  #kernels;
  #heap;
  /** @type {Promise<void>[]} */
  #endings = [];
  /** Address of the thread pool; 0 with one thread. */
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
    /** The kernels that Python calls at load; WebAssembly takes 64-bit numbers as BigInt. */
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
   * @returns {Promise<KernelPool>} itself, once all of them run
   */
  async start() {
    if (this.threads === 1) return this;
    this.#pool = this.allocate(this.#kernels.ox_pool_bytes());
    this.#kernels.ox_pool_init(this.#pool, this.threads, THREAD_TIMEOUT_MS);
    try {
      const others = Array.from({ length: this.threads - 1 }, (_, i) => this.#startThread(i + 1));
      await within(START_TIMEOUT_MS, Promise.all(others));
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
   * @returns {number} the address of zeroed bytes; 0 if there is no room
   */
  allocate(bytes) {
    return this.#heap.allocate(bytes);
  }

  /**
   * @param {number} address  of the block with the highest address
   * @param {number} bytes  its new size
   * @returns {boolean} false if there is no room
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
   * @returns {Uint8Array} the memory itself, valid until it grows
   */
  view(address, bytes) {
    return new Uint8Array(this.#memory.buffer, address, bytes);
  }

  /**
   * @param {number} model
   * @param {number} batch
   * @param {number} scratch
   * @param {number} scratchBytes
   * @returns {number | undefined} a status of kernels_c/ox.h; undefined: the pool has failed
   */
  forward(model, batch, scratch, scratchBytes) {
    if (this.failure !== "") return undefined;
    const size = BigInt(scratchBytes);
    try {
      return this.#pool === 0
        ? this.#kernels.ox_forward(model, batch, scratch, size)
        : this.#kernels.ox_pool_forward(this.#pool, model, batch, scratch, size);
    } catch (error) {
      this.#fail(reasonOf(error));
      return undefined;
    }
  }

  /**
   * End the threads and free the memory.
   *
   * @returns {Promise<unknown>} resolves when no thread is in a kernel any more
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
      const request = { type: "startThread", port, failure };
      self.postMessage(request, { transfer: [port, failure] });
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
  for (let maximum = MAX_PAGES; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: FIRST_PAGES, maximum, shared });
    } catch (error) {
      if (maximum <= MIN_PAGES) throw error;
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
