// wllama 3.13.0. It has no low-level calls; its completion reports llama.cpp's own timings, which
// leave out the messages between page and worker.

import { Wllama, LoggerWithoutDebug } from '/wllama-3.13.0/esm/index.js';

export async function load(job) {
  const wllama = new Wllama(
    { default: '/wllama-3.13.0/esm/wasm/wllama.wasm' },
    { logger: LoggerWithoutDebug, suppressNativeLog: true },
  );
  const config = {
    n_ctx: job.context,
    n_batch: job.batch,
    n_ubatch: job.batch,
    n_threads: job.threads,
    n_parallel: 1,
    n_gpu_layers: 0, // stay off WebGPU
  };
  if (job.start_only) {
    await wllama.loadModelFromUrl(new URL(job.model_url, location.href).href, config);
  } else {
    await wllama.loadModel([await (await fetch(job.model_url)).blob()], config);
  }
  return {
    version: `wllama 3.13.0 (llama.cpp ${Wllama.getLibllamaVersion()})`,
    threads: wllama.getNumThreads(),
    generate: (request) => generate(wllama, request),
  };
}

async function generate(wllama, { text, decodeTokens }) {
  const { timings } = await wllama.createCompletion({
    prompt: text, // it takes no token ids; its own tokenizer makes the same
    // the first token comes out of the prefill and is not in llama.cpp's decode time
    max_tokens: decodeTokens + 1,
    temperature: 0,
    ignore_eos: true,
    cache_prompt: false,
  });
  return {
    promptTokens: timings.prompt_n,
    prefillTokensPerSecond: timings.prompt_per_second,
    decodeTokens: timings.predicted_n - 1,
    decodeTokensPerSecond: (1000 * (timings.predicted_n - 1)) / timings.predicted_ms,
  };
}
