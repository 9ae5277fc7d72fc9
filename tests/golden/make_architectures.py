"""Makes the golden files of tests/golden/architectures with llama.cpp.

    python tests/golden/make_architectures.py [CASE ...]

Needs llama-cpp-python 0.3.36 besides the packages of the tests.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "helpers"))

from architecture_files import (  # noqa: E402
    CASES,
    TEXT,
    divergence,
    many_ids,
    write_case,
)

N_TOKENS = 40
POSITIONS = [7, 39]
F32, F16 = 0, 1
# a model and token ids to [tokens, vocabulary]
Logits = Callable[[llama_cpp.Llama, list[int]], np.ndarray]


def main(cases: list[str]) -> None:
    for case in cases or [name for name, case in CASES.items() if case.oracle == "llama.cpp"]:
        with tempfile.TemporaryDirectory() as folder:
            golden = make(case, Path(folder))
        write_golden(case, golden)
        print(f"{case:14} KL of Q8_0 {golden['llamacpp_kl']:.2e}", flush=True)


def write_golden(case: str, golden: dict) -> None:
    text = json.dumps(golden, separators=(",", ":")).replace("]],", "]],\n").replace("],[", "],\n[")
    (HERE / "architectures" / f"{case}.json").write_text(text + "\n")


def make(case: str, folder: Path, logits: Logits | None = None) -> dict:
    """`logits`: computes them at every position; None: all tokens at once."""
    is_encoder = CASES[case].is_encoder
    logits = logits or (hidden_states if is_encoder else logits_at_once)
    exact_path, quantized_path = folder / "f32.gguf", folder / "q8_0.gguf"
    write_case(exact_path, case, "F32")
    write_case(quantized_path, case, "Q8_0")
    n_ctx = CASES[case].context_size or 256
    exact_model = load(exact_path, n_ctx, F32, is_encoder=is_encoder)
    ids = exact_model.tokenize(TEXT.encode(), special=True)[:N_TOKENS]
    exact = logits(exact_model, ids)
    quantized = load(quantized_path, n_ctx, F16, is_encoder=is_encoder)
    both = [
        [logits(loaded, many) for many in many_ids(case)] for loaded in (exact_model, quantized)
    ]
    return {
        "ids": ids,
        "sha256": {
            "F32": hashlib.sha256(exact_path.read_bytes()).hexdigest(),
            "Q8_0": hashlib.sha256(quantized_path.read_bytes()).hexdigest(),
        },
        "llamacpp_kl": divergence(case, *both),
        "positions": POSITIONS,
        "logits": rounded(exact),
    }


def rounded(exact: np.ndarray) -> list[list[float]]:
    """The logits at POSITIONS."""
    return [[round(float(x), 4) for x in exact[t]] for t in POSITIONS]


def load(path: Path, n_ctx: int, kv_format: int, *, is_encoder: bool = False) -> llama_cpp.Llama:
    mode = {"embedding": True, "pooling_type": 0} if is_encoder else {"logits_all": True}
    return llama_cpp.Llama(
        str(path),
        n_ctx=n_ctx,
        n_threads=1,
        n_threads_batch=1,
        flash_attn=False,
        type_k=kv_format,
        type_v=kv_format,
        # what the file says
        yarn_attn_factor=-1.0,
        yarn_beta_fast=-1.0,
        yarn_beta_slow=-1.0,
        verbose=False,
        **mode,
    )


def logits_at_once(model: llama_cpp.Llama, ids: list[int]) -> np.ndarray:
    """At every position, [tokens, vocabulary]."""
    model.reset()
    model.eval(ids)
    return np.array(model.scores[: len(ids)], np.float64)


def hidden_states(model: llama_cpp.Llama, ids: list[int]) -> np.ndarray:
    """An encoder's at every position, [tokens, width]."""
    model._ctx.kv_cache_clear()  # llama-embed has one
    model._batch.reset()
    model._batch.add_sequence(ids, 0, True)
    if llama_cpp.llama_model_has_encoder(model._model.model):  # of T5
        model._ctx.encode(model._batch)
    else:
        model._ctx.decode(model._batch)
    values = llama_cpp.llama_get_embeddings(model._ctx.ctx)
    return np.ctypeslib.as_array(values, (len(ids), model.n_embd())).astype(np.float64)


if __name__ == "__main__":
    main(sys.argv[1:])
