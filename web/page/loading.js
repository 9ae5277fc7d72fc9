/** How far the loading of a model is. */

import { megabytes } from "./dom.js";

/** @import { LoadProgress } from "../oxillama.js" */

const STAGES = {
  runtime: "Starting Python",
  download: "Getting the model",
  load: "Making the model ready",
};

/** What the page says while a model loads. Python starts and bytes arrive at the same time. */
export class LoadView {
  #bar;
  #detail;
  #started = performance.now();

  /**
   * @param {HTMLProgressElement} bar
   * @param {HTMLElement} title
   * @param {HTMLElement} detail
   * @param {string} name
   */
  constructor(bar, title, detail, name) {
    this.#bar = bar;
    this.#detail = detail;
    title.textContent = `Loading ${name}`;
    detail.textContent = STAGES.runtime;
    bar.removeAttribute("value");
  }

  /** @param {LoadProgress} progress */
  update({ stage, loaded, total }) {
    if (stage === "download") {
      if (total === null) this.#bar.removeAttribute("value");
      else this.#bar.value = loaded / total;
      const seconds = (performance.now() - this.#started) / 1000;
      const whole = total === null ? "" : ` of ${megabytes(total)}`;
      const speed = `${megabytes(loaded / seconds)}/s`;
      this.#detail.textContent = `${STAGES.download}: ${megabytes(loaded)}${whole}, ${speed}`;
    } else if (loaded === 0) {
      if (stage === "load") this.#bar.removeAttribute("value");
      this.#detail.textContent = STAGES[stage];
    }
  }
}
