/** One thread of the kernels: a worker that walks plans until its pool ends. See kernel_pool.js. */

/**
 * @typedef {object} ThreadStart
 * @property {WebAssembly.Module} module
 * @property {WebAssembly.Memory} memory  shared by all threads
 * @property {number} stackTop  address: every thread has a stack of its own
 * @property {number} pool  address of the pool's state
 * @property {number} thread
 *
 * @typedef {{ready: true} | {failed: string} | {ended: true}} ThreadReply
 */

self.onmessage = async ({ data }) => {
  const { module, memory, stackTop, pool, thread } = /** @type {ThreadStart} */ (data);
  let breakPool = () => {};
  try {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    const kernels = /** @type {any} */ (exports);
    kernels.__stack_pointer.value = stackTop;
    breakPool = () => kernels.ox_pool_break(pool);
    post({ ready: true });
    // sleeps and works there: this worker reads no message any more
    kernels.ox_pool_work(pool, thread);
    post({ ended: true });
  } catch (error) {
    breakPool();
    post({ failed: error instanceof Error ? error.message : String(error) });
  }
};

/** @param {ThreadReply} reply */
function post(reply) {
  self.postMessage(reply);
}

export {};
