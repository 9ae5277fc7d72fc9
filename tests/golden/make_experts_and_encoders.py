"""Writes experts_and_encoders.json: what llama.cpp computes for tiny mixtures of experts and BERTs.

    PYTHONPATH=.:tests/helpers python tests/golden/make_experts_and_encoders.py

in an environment with gguf and llama-cpp-python 0.3.36. The models are those of
tests/helpers/architecture_cases, from their seeds. `exact`: F32 weights and an F32 cache; logits of
a decoder and hidden states of an encoder at POSITIONS. `q8_0_error`: how far llama.cpp is from that
with Q8_0 weights and its defaults: root mean square over all positions, as a part of the values'
own.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
from architecture_files import EXPERTS_AND_ENCODERS, write_case
from gguf_files import write_tiny_bert
from gguf_vocabularies import SAMPLE

N_TOKENS = 40
POSITIONS = [0, 7, 23, 39]


def main() -> None:
    golden = {}
    for name, case in EXPERTS_AND_ENCODERS.items():
        is_encoder = case.write is write_tiny_bert
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tiny.gguf"
            write_case(path, name, "F32")
            ids, exact = run(path, exact=True, is_encoder=is_encoder)
            write_case(path, name, "Q8_0")
            _, quantized = run(path, exact=False, is_encoder=is_encoder)
        golden[name] = {
            "ids": ids,
            "positions": POSITIONS,
            "exact": [[float(f"{x:.7g}") for x in exact[position]] for position in POSITIONS],
            "q8_0_error": float(np.linalg.norm(quantized - exact) / np.linalg.norm(exact)),
        }
        print(name, golden[name]["q8_0_error"])
    target = Path(__file__).with_name("experts_and_encoders.json")
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


def run(path: Path, *, exact: bool, is_encoder: bool) -> tuple[list[int], np.ndarray]:
    """Token ids of the sample, and float32 [tokens, values]."""
    cache = {"type_k": 0, "type_v": 0, "flash_attn": False} if exact else {}
    mode = {"embedding": True, "pooling_type": 0} if is_encoder else {"logits_all": True}
    llm = llama_cpp.Llama(
        str(path), n_ctx=64, n_batch=64, n_threads=1, verbose=False, **cache, **mode
    )
    ids = llm.tokenize(SAMPLE.encode(), add_bos=True)[:N_TOKENS]
    if is_encoder:
        llm._batch.add_sequence(ids, 0, True)
        llm._ctx.decode(llm._batch)
        values = llama_cpp.llama_get_embeddings(llm._ctx.ctx)
        width = llm.n_embd()
    else:
        llm.eval(ids)
        values = llama_cpp.llama_get_logits(llm._ctx.ctx)
        width = llm.n_vocab()
    result = np.ctypeslib.as_array(values, (len(ids), width)).copy()
    return ids, result


if __name__ == "__main__":
    main()
