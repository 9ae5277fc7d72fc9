// wllama 2.2.1, driven by its low-level calls so that prefill and decode are timed apart.

import { Wllama, LoggerWithoutDebug } from '/wllama-2.2.1/esm/index.js';

export async function load(job) {
  const wllama = new Wllama(
    {
      'single-thread/wllama.wasm': '/wllama-2.2.1/esm/single-thread/wllama.wasm',
      'multi-thread/wllama.wasm': '/wllama-2.2.1/esm/multi-thread/wllama.wasm',
    },
    { logger: LoggerWithoutDebug, suppressNativeLog: true },
  );
  const config = { n_ctx: job.context, n_batch: job.batch, n_threads: job.threads };
  if (job.start_only) {
    await wllama.loadModelFromUrl(new URL(job.model_url, location.href).href, config);
  } else {
    await wllama.loadModel([await (await fetch(job.model_url)).blob()], config);
  }
  return {
    version: 'wllama 2.2.1',
    threads: wllama.getNumThreads(),
    generate: (request) => generate(wllama, request),
  };
}

async function generate(wllama, { ids, decodeTokens }) {
  await wllama.kvClear();
  await wllama.samplingInit({ temp: 0 });
  const start = performance.now();
  await wllama.decode(ids, {});
  let { token } = await wllama.samplingSample();
  const prefilled = performance.now();
  for (let i = 0; i < decodeTokens; i++) {
    await wllama.decode([token], {});
    ({ token } = await wllama.samplingSample());
  }
  const decoded = performance.now();
  return {
    promptTokens: ids.length,
    prefillTokensPerSecond: (1000 * ids.length) / (prefilled - start),
    decodeTokens,
    decodeTokensPerSecond: (1000 * decodeTokens) / (decoded - prefilled),
  };
}
