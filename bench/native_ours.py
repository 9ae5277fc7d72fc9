"""Times this package's engine on CPython."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.native import Job, run_worker


class Ours:
    """An InferenceEngine and a greedy choice."""

    version = "oxillama_web"

    def __init__(self, job: Job) -> None:
        """Load the file with the job's threads and context."""
        from oxillama_web.config import EngineConfig
        from oxillama_web.engine import InferenceEngine

        config = EngineConfig(
            model_path=job["model"], num_threads=job["threads"], context_size=job["context"]
        )
        self._engine: Any = InferenceEngine(config)
        self._engine.load_model()

    def prefill(self, tokens: Sequence[int]) -> int:
        """Process ``tokens`` from position 0 on."""
        self._engine.reset()
        return _largest(self._engine.forward_prefill(list(tokens), 0))

    def decode(self, token: int, position: int) -> int:
        """Process one token at ``position``."""
        return _largest(self._engine.forward_decode(token, position))


def _largest(logits: Any) -> int:
    import numpy as np

    return int(np.argmax(logits))


if __name__ == "__main__":
    run_worker(Ours)
