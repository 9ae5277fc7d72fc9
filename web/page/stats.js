/** What the model does just now, in figures: speed, first token, memory, context. */

import { element, megabytes } from "./dom.js";

/** @import { AnswerStats, ModelInfo } from "../protocol.js" */

const SAMPLES = 60;
const SAMPLE_MS = 250;
const WIDTH = 120;
const HEIGHT = 28;

export class Figures {
  #speed = element("figure-speed", HTMLElement);
  #first = element("figure-first", HTMLElement);
  #memory = element("figure-memory", HTMLElement);
  #context = element("figure-context", HTMLElement);
  #line = /** @type {SVGPolylineElement} */ (document.querySelector("#figure-chart polyline"));
  /** @type {number[]} tokens a second, the newest last */
  #samples = [];
  #pieces = 0;
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
    this.#pieces = 0;
    this.#sampledAt = performance.now();
  }

  /** A piece of the answer came. */
  tick() {
    this.#pieces += 1;
    const elapsed = performance.now() - this.#sampledAt;
    if (elapsed < SAMPLE_MS) return;
    this.#add((this.#pieces * 1000) / elapsed);
    this.begin();
  }

  /** @param {AnswerStats | null} stats  of the whole answer */
  end(stats) {
    if (stats === null || stats.tokens === 0) return;
    if (stats.decodeTokensPerSecond > 0) this.#add(stats.decodeTokensPerSecond);
    this.#first.textContent = `${(stats.timeToFirstToken / 1000).toFixed(2)} s`;
    this.context(stats.contextTokens);
  }

  /** @param {number} used  tokens, which the model holds of the conversation */
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
