/**
 * One thread of the kernels: a worker that runs plans until its pool ends. The page starts it for
 * pool.js, and hands it a port to that.
 */

/**
 * @typedef {object} ThreadStart
 * @property {WebAssembly.Module} module
 * @property {WebAssembly.Memory} memory  shared by all threads
 * @property {number} stackTop  address where its own stack begins
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
    // does not return before the pool ends: this worker reads no more messages
    kernels.ox_pool_work(pool, thread);
    post({ ended: true });
  } catch (error) {
    breakPool();
    post({ failed: error instanceof Error ? error.message : String(error) });
  }
}

export {};
