"""Model files by name."""

from __future__ import annotations

import os
from pathlib import Path

from bench.machine import ROOT

MODELS = {
    "smollm2-135m-instruct": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "smollm2-135m-instruct-q8_0": "SmolLM2-135M-Instruct.Q8_0.gguf",
    "smollm2-135m-instruct-q4_0": "SmolLM2-135M-Instruct.Q4_0.gguf",
    "gemma-3-270m": "gemma-3-270m-q4_k_m.gguf",
}


def find_model(name: str) -> Path:
    """Find a known model in $OXILLAMA_MODELS or build/bench/models; any other name is a path."""
    file = MODELS.get(name, name)
    directories = [*os.environ.get("OXILLAMA_MODELS", "").split(os.pathsep), "build/bench/models"]
    for directory in filter(None, directories):
        path = ROOT / directory / file
        if path.is_file():
            return path.resolve()
    raise SystemExit(
        f"no model {name}: give a path, or put {file} into build/bench/models "
        "(bench/requantize.py makes the Q8_0 and Q4_0 files)"
    )
