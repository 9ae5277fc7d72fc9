"""A small start and answer, which make the browser optimize what the next visit begins with.

Chromium keeps the optimized code of a WebAssembly module once there is 1 MB of it, and a short
visit ends before that (docs/benchmarks.md): the next one would begin with slow code again.
"""

from __future__ import annotations

from typing import Any

from ..backends.kernels.wasm import WasmBlock
from .worker import WorkerEngine

_MESSAGES = [
    {
        "role": "user",
        "content": "The quick brown fox jumps over 13 lazy dogs; what does it do then?",
    }
]
_OPTIONS = {"max_tokens": 6, "sampler": {"temperature": 0.8, "top_k": 20, "seed": 1}}
_ANSWERS = 2


def warm_up(pool: Any, model: Any, round_number: int) -> None:
    """Load a tiny model beside the one in use, if there is one, and answer with it.

    Nothing of it remains, and the other model is not affected.

    Args:
        pool: the KernelPool of web/kernels/pool.js.
        model: the file that tools/warm_up_model.py makes, as bytes or a JavaScript buffer.
        round_number: another number each time, since a chat template is compiled only once.
    """
    data = bytes(model.to_bytes() if hasattr(model, "to_bytes") else model)
    data = data.replace(b"ROUND", b"%05d" % round_number)
    block = WasmBlock(pool, len(data))
    block.write(0, data)
    engine = WorkerEngine()
    engine.begin(pool, None, {})
    engine.receive(block.address, len(data), len(data))
    engine.load()
    for _ in range(_ANSWERS):
        engine.start_chat(_MESSAGES, _OPTIONS)
        while engine.step() is not None:
            pass
        engine.reset()
