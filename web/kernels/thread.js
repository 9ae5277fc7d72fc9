/**
 * One thread of the kernels: a worker that walks plans until its pool ends. The page starts it for
 * kernel_pool.js, and hands it the port over which the two talk.
 */

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

self.onmessage = ({ data }) => {
  const port = /** @type {MessagePort} */ (data);
  port.onmessage = (event) => void work(port, event.data);
};

/**
 * @param {MessagePort} port
 * @param {ThreadStart} start
 */
async function work(port, { module, memory, stackTop, pool, thread }) {
  const post = (/** @type {ThreadReply} */ reply) => port.postMessage(reply);
  let breakPool = () => {};
  try {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    const kernels = /** @type {any} */ (exports);
    kernels.__stack_pointer.value = stackTop;
    breakPool = () => kernels.ox_pool_poison(pool);
    post({ ready: true });
    // sleeps and works there: this worker reads no message any more
    kernels.ox_pool_work(pool, thread);
    post({ ended: true });
  } catch (error) {
    breakPool();
    post({ failed: error instanceof Error ? error.message : String(error) });
  }
}

export {};
