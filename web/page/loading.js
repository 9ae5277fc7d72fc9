/** The progress of loading a model. */

import { megabytes } from "./dom.js";

/** @import { LoadProgress } from "../oxillama.js" */

const PHASES = {
  runtime: "Starting Python",
  download: "Getting the model",
  read: "Reading the model",
  load: "Preparing the model",
};

/** What the page shows while a model loads. Python starts while bytes arrive. */
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
    detail.textContent = PHASES.runtime;
    bar.removeAttribute("value");
  }

  /** @param {LoadProgress} progress */
  update({ phase, bytes, total }) {
    if (phase === "download" || phase === "read") {
      if (total === null) this.#bar.removeAttribute("value");
      else this.#bar.value = bytes / total;
      const seconds = (performance.now() - this.#started) / 1000;
      const whole = total === null ? "" : ` of ${megabytes(total)}`;
      const speed = `${megabytes(bytes / seconds)}/s`;
      this.#detail.textContent = `${PHASES[phase]}: ${megabytes(bytes)}${whole}, ${speed}`;
    } else {
      if (phase === "load") this.#bar.removeAttribute("value");
      this.#detail.textContent = PHASES[phase];
    }
  }
}
