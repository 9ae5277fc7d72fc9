"""Writes minilm.json: what llama.cpp makes of a few texts with all-MiniLM-L6-v2 in F32.

    PYTHONPATH=.:tests/helpers python tests/golden/make_minilm.py

in an environment with gguf and llama-cpp-python 0.3.36. `ids`: the texts' tokens; `vectors`: their
embeddings, of length 1.
"""

from __future__ import annotations

import json
from pathlib import Path

import llama_cpp
from minilm import minilm_path

TEXTS = [
    "The cat sat on the mat.",
    "A kitten was lying on the rug.",
    "Un café à Paris, s'il vous plaît!",
    "Quantum chromodynamics describes the strong interaction. " * 20,
]


def main() -> None:
    llm = llama_cpp.Llama(str(minilm_path()), n_ctx=512, n_batch=512, embedding=True, verbose=False)
    golden = {
        "texts": TEXTS,
        "ids": [llm.tokenize(text.encode()) for text in TEXTS],
        "vectors": [[float(f"{x:.6g}") for x in llm.embed(text, normalize=True)] for text in TEXTS],
    }
    target = Path(__file__).with_name("minilm.json")
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
