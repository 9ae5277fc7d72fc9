/** The statistics below the chat: speed, first token, memory, context. */

import { element, megabytes } from "./dom.js";

/** @import { AnswerStats, ModelInfo } from "../protocol.js" */

const SAMPLES = 60;
const SAMPLE_MS = 250;
const WIDTH = 120;
const HEIGHT = 28;

export class StatsBar {
  #speed = element("stat-speed", HTMLElement);
  #first = element("stat-first", HTMLElement);
  #memory = element("stat-memory", HTMLElement);
  #context = element("stat-context", HTMLElement);
  #line = /** @type {SVGPolylineElement} */ (document.querySelector("#stat-chart polyline"));
  /** @type {number[]} tokens per second, newest last */
  #samples = [];
  /** Tokens of the answer at the last sample, and its time. */
  #sampled = 0;
  #sampledAt = 0;
  #contextSize = 0;

  /** @param {ModelInfo} info  of a model that was just loaded */
  open(info) {
    this.#contextSize = info.contextSize;
    this.#samples = [];
    this.#draw();
    this.#speed.textContent = this.#first.textContent = "–";
    this.#memory.textContent = megabytes(Math.max(info.heapBytes, info.memoryBytes));
    this.context(0);
  }

  /** An answer begins. */
  begin() {
    this.#sampled = 0;
  }

  /** @param {number} tokens  of the answer so far */
  decode(tokens) {
    const now = performance.now();
    const elapsed = now - this.#sampledAt;
    if (this.#sampled > 0 && elapsed < SAMPLE_MS) return;
    if (this.#sampled > 0) this.#add(((tokens - this.#sampled) * 1000) / elapsed);
    this.#sampled = tokens;
    this.#sampledAt = now;
  }

  /** @param {AnswerStats | null} stats  of the complete answer */
  end(stats) {
    if (stats === null || stats.tokens === 0) return;
    if (stats.decodeTokensPerSecond > 0) this.#add(stats.decodeTokensPerSecond);
    this.#first.textContent = `${(stats.timeToFirstToken / 1000).toFixed(2)} s`;
    this.context(stats.contextTokens);
  }

  /** @param {number} used  tokens of the conversation that are in the cache */
  context(used) {
    this.#context.textContent = `${used} / ${this.#contextSize}`;
  }

  /** @param {number} speed */
  #add(speed) {
    this.#samples = [...this.#samples, speed].slice(-SAMPLES);
    this.#speed.textContent = `${speed.toFixed(1)} tokens/s`;
    this.#draw();
  }

  #draw() {
    const highest = Math.max(...this.#samples, 1);
    const points = this.#samples.map((speed, index) => {
      const x = (index * WIDTH) / (SAMPLES - 1);
      return `${x.toFixed(1)},${(HEIGHT - 2 - (speed / highest) * (HEIGHT - 4)).toFixed(1)}`;
    });
    this.#line.setAttribute("points", points.join(" "));
  }
}
