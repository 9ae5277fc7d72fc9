"""Model files by name."""

from __future__ import annotations

from pathlib import Path

from oxillama_web.hub.models import MODELS, cache_directory, fetch

# made by bench/requantize.py: name to file
REQUANTIZED = {
    "smollm2-135m-instruct-q8_0": "SmolLM2-135M-Instruct.Q8_0.gguf",
    "smollm2-135m-instruct-q4_0": "SmolLM2-135M-Instruct.Q4_0.gguf",
}


def find_model(name: str) -> Path:
    """Return the file of a known model (fetched if need be), a requantized one, or a path."""
    if name in MODELS:
        return fetch(name)
    path = cache_directory() / REQUANTIZED[name] if name in REQUANTIZED else Path(name)
    if path.is_file():
        return path.resolve()
    if name in REQUANTIZED:
        raise SystemExit(f"no {path}: bench.requantize makes it, see docs/benchmarks.md")
    known = ", ".join([*MODELS, *REQUANTIZED])
    raise SystemExit(f"no file {name}, and no known model of that name: {known}")
