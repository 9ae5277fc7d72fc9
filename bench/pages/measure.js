// Runs one engine in a fresh page and leaves the figures in window.benchResult.
//
// The job comes in the fragment of the address as JSON: {engine, model_url, threads, context,
// batch, prompt_ids, prompt_text, warm_up: {ids, text}, decode_tokens, start_only}. An engine is a
// module with
//   load(job) -> session                      ready to generate when it resolves; with start_only the
//                                             model is taken from the engine's own cache
//   session.version                           a string
//   session.generate({ids, text, decodeTokens}) -> {promptTokens, prefillTokensPerSecond,
//                                              decodeTokens, decodeTokensPerSecond}
// performance.now() counts from the start of the navigation, so its value is "page start to ready".

const WARM_UP_DECODE = 4;

async function measure(job) {
  const engine = await import(`./${job.engine}.js`);
  const session = await engine.load(job);
  const readySeconds = performance.now() / 1000;
  const threads = session.threads ?? job.threads;
  if (threads !== job.threads) throw new Error(`${threads} threads instead of ${job.threads}`);
  if (job.start_only) {
    await session.generate({ ...job.warm_up, decodeTokens: 0 });
    return { version: session.version, readySeconds, firstTokenSeconds: performance.now() / 1000 };
  }
  await session.generate({ ...job.warm_up, decodeTokens: WARM_UP_DECODE });
  const figures = await session.generate({
    ids: job.prompt_ids, text: job.prompt_text, decodeTokens: job.decode_tokens,
  });
  return { version: session.version, readySeconds, ...figures };
}

const job = JSON.parse(decodeURIComponent(location.hash.slice(1)));
measure(job).then(
  (result) => { window.benchResult = result; },
  (error) => { window.benchResult = { error: `${error?.stack ?? error}` }; },
);
