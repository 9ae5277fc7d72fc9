"""Runs in Pyodide (tests/test_golden_browser.py): golden cases on the kernels, without NumPy."""

from __future__ import annotations

import json
import math

from oxillama_web import EngineConfig, InferenceEngine

# Where the reference's two best tokens are this close, any rounding may choose the other one.
CLEAR_MARGIN = 0.5


def run(model: bytearray, golden: str) -> str:
    """Results of all cases as JSON: mean KL divergence, clear tokens that we chose otherwise."""
    engine = InferenceEngine(EngineConfig())
    engine.load_model_from_bytes(model, None, consume=True)
    results = [run_case(engine, case) for case in json.loads(golden)["cases"]]
    return json.dumps({"executor": engine.executor_name, "cases": results})


def run_case(engine: InferenceEngine, case: dict) -> dict:
    """One case on a cache of its own."""
    executor = engine._model.executor
    cache = executor.new_cache()
    same_ids = engine.tokenize(case["text"]) == case["ids"]
    logits = executor.forward(cache, case["ids"], "all")
    n_vocab = len(logits) // len(case["ids"])
    divergences = [
        divergence(executor, logits[t * n_vocab : (t + 1) * n_vocab], case, t)
        for t in range(len(case["ids"]))
    ]
    row = logits[-n_vocab:]
    wrong = []
    for token, margin in case["greedy_ids_and_margins"]:
        if margin > CLEAR_MARGIN and executor.top_k(row, 1)[0] != [token]:
            wrong.append(token)
        row = executor.forward(cache, [token], "last")
    return {"kl": sum(divergences) / len(divergences), "wrong": wrong, "same_ids": same_ids}


def divergence(executor, row: memoryview, case: dict, t: int) -> float:
    """KL(exact || ours) over the listed tokens and one bucket for the rest."""
    total = executor.log_sum_exp(row, 1.0)
    exact = [math.exp(x - case["logsumexp"][t]) for x in case["top_logits"][t]]
    ours = [math.exp(row[token] - total) for token in case["top_ids"][t]]
    pairs = zip([*exact, rest(exact)], [*ours, rest(ours)], strict=True)
    return sum(p * math.log(p / q) for p, q in pairs)


def rest(probabilities: list[float]) -> float:
    return max(1.0 - sum(probabilities), 1e-12)
