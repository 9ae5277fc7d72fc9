/** Loads a model: its bytes, the kernels and Python come together. */

import { invalidRequest, toOxiLlamaError } from "../errors.js";
import { ModelMemory } from "../kernels/model_memory.js";
import { openOnDevice } from "../storage/random_access_file.js";
import { openSources, readBytes, readModel } from "../storage/sources.js";
import { EngineProxy } from "./engine_proxy.js";
import { ProgressReporter } from "./progress.js";
import { heapBytes } from "./runtime.js";

/** @import { KernelPool } from "../kernels/pool.js" */
/** @import { EngineInfo, LoadProgress, LoadRequest, ModelInfo } from "../protocol.js" */
/** @import { FileSource } from "../storage/file_source.js" */
/** @import { Runtime } from "./runtime.js" */

/** After these errors the files are worthless. */
const DAMAGED = ["not_gguf", "bad_model", "unsupported_model", "tokenizer", "truncated"];

/** @typedef {{engine: EngineProxy, info: ModelInfo}} LoadedModel */

export class ModelLoader {
  #request;
  #runtime;
  #opening;
  #signal;
  #reporter;

  /**
   * @param {LoadRequest} request
   * @param {Promise<Runtime>} runtime
   * @param {Promise<KernelPool>} opening
   * @param {AbortSignal} signal
   * @param {(progress: LoadProgress) => void} onProgress
   */
  constructor(request, runtime, opening, signal, onProgress) {
    this.#request = request;
    this.#runtime = runtime;
    this.#opening = opening;
    this.#signal = signal;
    this.#reporter = new ProgressReporter(onProgress);
  }

  /** @returns {Promise<LoadedModel>} */
  load() {
    return this.#request.memoryBudget === null ? this.#loadWhole() : this.#loadPaged();
  }

  async #loadWhole() {
    const { model, tokenizer, cache } = this.#request;
    const sources = tokenizer === null ? model : [...model, tokenizer];
    const files = await openSources(sources, this.#signal, cache);
    try {
      return await this.#loadFiles(files.slice(0, model.length), files[model.length]);
    } catch (error) {
      const isDamaged = DAMAGED.includes(toOxiLlamaError(error).code);
      for (const file of files) await (isDamaged ? file.discard() : file.close());
      throw error;
    }
  }

  /**
   * @param {FileSource[]} files
   * @param {FileSource | undefined} tokenizer
   * @returns {Promise<LoadedModel>}
   */
  async #loadFiles(files, tokenizer) {
    const { context } = this.#request;
    this.#reporter.begin("runtime");
    /** @type {EngineProxy | null} */
    let engine = null;
    const receiving = this.#receive(files, (memory, file, count) => {
      engine?.receive(memory);
      this.#reporter.add(file.local ? "read" : "download", count, memory.size);
    });
    receiving.catch(() => {});
    const starting = Promise.all([
      this.#runtime, this.#opening, tokenizer === undefined ? null : readBytes(tokenizer),
    ]);
    const [{ pyodide }, pool, tokenizerJson] = await Promise.race([starting, failure(receiving)]);
    const runtimeTime = this.#elapsed();
    engine = new EngineProxy(pyodide);
    engine.begin(pool, tokenizerJson, context);
    const memory = await receiving;
    const downloadTime = this.#elapsed();
    this.#reporter.end(files.at(-1)?.local ? "read" : "download");
    this.#reporter.begin("load");
    engine.receive(memory);
    const info = await this.#modelInfo(engine.load(), [runtimeTime, downloadTime], {
      hit: files.every((file) => file.cached),
      stored: files.every((file) => file.note === ""),
      note: files.map((file) => file.note).find((note) => note !== "") ?? "",
    });
    return { engine, info };
  }

  /**
   * Write a model into the kernels' memory; Python may start later.
   *
   * @param {FileSource[]} files
   * @param {(memory: ModelMemory, file: FileSource, bytes: number) => void} onChunk
   * @returns {Promise<ModelMemory>}
   */
  async #receive(files, onChunk) {
    const pool = await this.#opening;
    const sizes = files.map(({ size }) => size);
    const guess = files.reduce((sum, file) => sum + file.guess, 0);
    const memory = new ModelMemory(pool, sizes, guess);
    for (const [index, file] of files.entries()) {
      const start = memory.startFile(index);
      await readModel(file, (chunk, offset) => {
        memory.write(chunk, start + offset);
        onChunk(memory, file, chunk.length);
      });
    }
    memory.finish();
    return memory;
  }

  /**
   * Load a model that stays on the device but for the memory budget.
   *
   * @returns {Promise<LoadedModel>}
   */
  async #loadPaged() {
    const { model, context, memoryBudget } = this.#request;
    const [source, ...others] = model;
    if (source === undefined || others.length > 0) {
      throw invalidRequest("a memory budget needs a model in one file");
    }
    this.#reporter.begin("runtime");
    const opening = openOnDevice(source, this.#signal, this.#request.cache, (file, count) => {
      this.#reporter.add(file.local ? "read" : "download", count, file.size);
    });
    const [file, { pyodide }, pool, tokenizer] = await Promise.all([
      opening, this.#runtime, this.#opening, this.#readTokenizer(),
    ]);
    const time = this.#elapsed();
    this.#reporter.begin("load");
    const engine = new EngineProxy(pyodide);
    const loaded = engine.loadPaged(pool, file, Number(memoryBudget), tokenizer, context);
    const isUrl = source.kind === "url";
    const cache = { hit: isUrl, stored: isUrl, note: isUrl ? "" : "not kept: it is a file" };
    return { engine, info: await this.#modelInfo(loaded, [time, time], cache) };
  }

  async #readTokenizer() {
    const { tokenizer, cache } = this.#request;
    if (tokenizer === null) return null;
    const [file] = /** @type {[FileSource]} */ (
      await openSources([tokenizer], this.#signal, cache)
    );
    return readBytes(file);
  }

  /**
   * @param {EngineInfo} engineInfo
   * @param {[number, number]} times  when Python and the last byte were there
   * @param {ModelInfo["cache"]} cache
   * @returns {Promise<ModelInfo>}
   */
  async #modelInfo(engineInfo, [runtimeTime, downloadTime], cache) {
    const ready = this.#elapsed();
    const [{ pyodide, snapshot }, pool] = await Promise.all([this.#runtime, this.#opening]);
    return {
      ...engineInfo,
      threads: pool.threads,
      isolated: pool.isolated,
      threadsNote: pool.note,
      heapBytes: heapBytes(pyodide),
      cache,
      startup: {
        runtime: runtimeTime,
        download: downloadTime,
        load: ready - downloadTime,
        ready,
        snapshot,
      },
    };
  }

  /** Return the milliseconds since the page called `load`. */
  #elapsed() {
    return performance.timeOrigin + performance.now() - this.#request.calledAt;
  }
}

/**
 * @param {Promise<unknown>} promise
 * @returns {Promise<never>} rejects when `promise` does, and never resolves
 */
function failure(promise) {
  return new Promise((_, reject) => promise.catch(reject));
}
