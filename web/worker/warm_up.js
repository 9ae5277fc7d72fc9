/**
 * Makes the browser optimize what the next visit begins with, while this one is idle.
 *
 * Chromium keeps the optimized code of a WebAssembly module once there is 1 MB of it
 * (docs/benchmarks.md). A visit of a few seconds ends before that, and the next one would begin
 * with slow code again.
 */

import { ASSETS } from "../assets.js";

/** @import { PyodideAPI } from "pyodide" */
/** @import { KernelPool } from "../kernels/pool.js" */

/** Most code is kept after the first start, and Python's own loop too after the second. */
const STARTS = 2;
/** The code that a round of 20 to 80 ms has run is optimized during the pause after it. */
const ROUNDS = 10;
const PAUSE_MS = 250;

/**
 * @param {PyodideAPI} pyodide
 * @param {KernelPool} pool
 * @param {number} starts  how many there were, including this one; 0: the browser keeps nothing
 * @param {(milliseconds: number) => Promise<void>} whenIdle  waits, and until the worker is idle
 */
export async function warmUp(pyodide, pool, starts, whenIdle) {
  if (starts === 0 || starts > STARTS) return;
  const model = new Uint8Array(await (await fetch(`${ASSETS}warm_up_model.bin`)).arrayBuffer());
  const module = pyodide.pyimport("oxillama_web.browser.warm_up");
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await whenIdle(PAUSE_MS);
      if (pool.failure !== "") return;
      module.warm_up(pool, model, round);
    }
  } finally {
    module.destroy();
  }
}
