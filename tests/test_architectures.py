"""Every family on a tiny file of random weights, against logits that llama.cpp computes from it.

tests/golden/make_architectures.py made the golden files; tests/golden/README.md tells how.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from architecture_files import (
    CASES,
    CONTEXT_SIZES,
    MANY_IDS,
    TEXT,
    Format,
    mean_kl,
    write_case,
)

from oxillama_web import EngineConfig, InferenceEngine

GOLDEN = Path(__file__).parent / "golden" / "architectures"


def golden(case: str) -> dict:
    return json.loads((GOLDEN / f"{case}.json").read_text())


def load(folder: Path, case: str, format: Format, executor: str) -> InferenceEngine:
    path = folder / f"{format}.gguf"
    write_case(path, case, format)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == golden(case)["sha256"][format]
    config = EngineConfig(
        model_path=str(path),
        executor=executor,
        context_size=CONTEXT_SIZES.get(case),
        num_threads=1,
    )
    engine = InferenceEngine(config)
    engine.load_model()
    return engine


def logits(engine: InferenceEngine, ids: list[int]) -> np.ndarray:
    model = engine._model
    flat = model.executor.forward(model.executor.new_cache(), ids, "all")
    return np.array(flat, np.float64).reshape(len(ids), -1)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_llama_cpp(case: str, tmp_path: Path) -> None:
    """NumPy computes llama.cpp's exact logits; the kernels stray no further than it does.

    How far llama.cpp strays was measured on `MANY_IDS`, from its own exact logits; how far the
    kernels do is measured from NumPy's.
    """
    expected = golden(case)
    exact = load(tmp_path, case, "F32", "numpy")
    assert exact.tokenize(TEXT)[: len(expected["ids"])] == expected["ids"]
    ours = logits(exact, expected["ids"])[expected["positions"]]
    theirs = np.array(expected["logits"])
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    quantized = load(tmp_path, case, "Q8_0", "kernels")
    kl = np.mean([mean_kl(logits(exact, many), logits(quantized, many)) for many in MANY_IDS])
    assert error < 2e-3
    assert kl < 1.1 * expected["llamacpp_kl"]
