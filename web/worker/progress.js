/** The progress of a load, and an estimate of how long it will still take. */

/** @import { LoadPhase, LoadProgress } from "../protocol.js" */

const INTERVAL_MS = 50;
/** The speed is measured over this time. */
const WINDOW_MS = 5000;
/** Before this time an estimate would be too unsteady. */
const MIN_MS = 500;

export class ProgressReporter {
  #report;
  /** @type {{time: number, bytes: number}[]} */
  #samples = [];
  #bytes = 0;
  #reported = -Infinity;

  /** @param {(progress: LoadProgress) => void} report */
  constructor(report) {
    this.#report = report;
  }

  /** @param {LoadPhase} phase  begins; it has no bytes to count */
  begin(phase) {
    this.#report({ phase, bytes: 0, total: null, secondsLeft: null });
  }

  /**
   * Count bytes of the model that arrived. Not every call is reported.
   *
   * @param {LoadPhase} phase
   * @param {number} count
   * @param {number | null} total
   */
  add(phase, count, total) {
    this.#bytes += count;
    const now = performance.now();
    if (now - this.#reported < INTERVAL_MS) return;
    this.#reported = now;
    this.#samples.push({ time: now, bytes: this.#bytes });
    while (this.#oldest.time < now - WINDOW_MS) this.#samples.shift();
    this.#report({ phase, bytes: this.#bytes, total, secondsLeft: this.#secondsLeft(total, now) });
  }

  /** @param {LoadPhase} phase  all of its bytes have arrived */
  end(phase) {
    this.#report({ phase, bytes: this.#bytes, total: this.#bytes, secondsLeft: 0 });
  }

  get #oldest() {
    return this.#samples[0] ?? { time: Infinity, bytes: 0 };
  }

  /**
   * @param {number | null} total
   * @param {number} now
   */
  #secondsLeft(total, now) {
    const { time, bytes } = this.#oldest;
    if (total === null || now - time < MIN_MS || this.#bytes === bytes) return null;
    return ((total - this.#bytes) * (now - time)) / (this.#bytes - bytes) / 1000;
  }
}
