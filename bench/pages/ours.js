// This project's engine, through the public client: what a page would see.

import { OxiLlama } from '/site/oxillama.js';

export async function load(job) {
  const llm = await OxiLlama.load({
    model: new URL(job.model_url, location.href).href,
    contextSize: job.context,
    threads: job.threads,
    cache: job.start_only ? 'use' : 'off',
  });
  const { executor, kernels, startup, threads = 1 } = llm.info;
  return {
    version: `oxillama_web (${executor}, ${kernels}${startup.snapshot ? ', snapshot' : ''})`,
    threads,
    generate: (request) => generate(llm, request),
  };
}

async function generate(llm, { text, decodeTokens }) {
  await llm.reset(); // or the beginning that two prompts share would not be computed again
  // the first token comes out of the prefill; stats count decode from the second on
  const options = { maxTokens: decodeTokens + 1, temperature: 0, repetitionPenalty: 1 };
  for await (const piece of llm.generate(text, options)) void piece;
  const { promptTokens, tokens, prefillTokensPerSecond, decodeTokensPerSecond } = llm.stats;
  return {
    promptTokens, prefillTokensPerSecond, decodeTokens: tokens - 1, decodeTokensPerSecond,
  };
}
