/**
 * Has the browser optimize what the next visit begins with.
 *
 * Chromium keeps what it optimized of a WebAssembly module once that is 1 MB (docs/benchmarks.md).
 * A visit of a few seconds ends below that, and the next one would begin with slow code again.
 */

/** @import { PyodideAPI } from "pyodide" */
/** @import { KernelPool } from "../kernels/pool.js" */

/** After the first one most is kept, and after the second one Python's own loop too. */
const STARTS = 2;
/** What a round of 20 to 80 ms has made hot is optimized during the pause behind it. */
const ROUNDS = 10;
const PAUSE_MS = 250;

/**
 * @param {PyodideAPI} pyodide
 * @param {KernelPool} pool
 * @param {number} starts  how many there were, with this one; 0: the browser keeps nothing
 * @param {(milliseconds: number) => Promise<void>} pause  which ends when nobody waits for this
 *   worker
 */
export async function rehearse(pyodide, pool, starts, pause) {
  if (starts === 0 || starts > STARTS) return;
  const rehearsal = pyodide.pyimport("oxillama_web.browser.rehearsal");
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await pause(PAUSE_MS);
      if (pool.failure !== "") return;
      rehearsal.rehearse(pool, round);
    }
  } finally {
    rehearsal.destroy();
  }
}
