"""Golden cases on the kernels, without NumPy: test_golden_browser.py runs it in Pyodide."""

from __future__ import annotations

import json
import math
import os

from oxillama_web import EngineConfig, InferenceEngine

# Where the reference's two best tokens are this close, any rounding may choose the other one.
CLEAR_MARGIN = 0.5


def run(model: bytearray, golden: str) -> str:
    """Results of all cases as JSON: mean KL divergence, clear tokens that we chose otherwise.

    No cases where the library that was asked for is not the one that runs.
    """
    engine = InferenceEngine(EngineConfig())
    engine.load_model_from_bytes(model, None, consume=True)
    as_asked = engine.executor_name == f"kernels-{os.environ['OXILLAMA_KERNELS']}"
    cases = json.loads(golden)["cases"] if as_asked else []
    results = [run_case(engine, case) for case in cases]
    return json.dumps({"executor": engine.executor_name, "cases": results})


def run_case(engine: InferenceEngine, case: dict) -> dict:
    """One case on a cache of its own."""
    executor, logits_ops = engine._model.executor, engine._model.logits_ops
    cache = executor.new_cache()
    same_ids = engine.tokenize(case["text"]) == case["ids"]
    logits = executor.forward(cache, case["ids"], "all")
    n_vocab = len(logits) // len(case["ids"])
    divergences = []
    for t, top_ids in enumerate(case["top_ids"]):
        row = logits[t * n_vocab : (t + 1) * n_vocab]
        listed = [row[token] for token in top_ids]
        divergences.append(divergence(listed, logits_ops.log_sum_exp(row, 1.0), case, t))
    row = logits[-n_vocab:]
    wrong = []
    for token, margin in case["greedy_ids_and_margins"]:
        if margin > CLEAR_MARGIN and logits_ops.top_k(row, 1)[0] != [token]:
            wrong.append(token)
        row = executor.forward(cache, [token], "last")
    return {"kl": sum(divergences) / len(divergences), "wrong": wrong, "same_ids": same_ids}


def divergence(listed: list[float], total: float, case: dict, t: int) -> float:
    """KL(exact || ours) at position t, over the listed tokens and one bucket for the rest.

    listed: our logits of the tokens in case["top_ids"][t]; total: the logsumexp of all of them.
    """
    exact = [math.exp(x - case["logsumexp"][t]) for x in case["top_logits"][t]]
    ours = [math.exp(x - total) for x in listed]
    pairs = zip([*exact, rest(exact)], [*ours, rest(ours)], strict=True)
    return sum(p * math.log(p / q) for p, q in pairs)


def rest(probabilities: list[float]) -> float:
    return max(1.0 - sum(probabilities), 1e-12)
