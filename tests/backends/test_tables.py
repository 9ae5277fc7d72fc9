"""Tables of which only rows are looked up stay in the file: nothing packs or dequantizes them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from architecture_files import write_case
from executors import numpy_executor

from oxillama_web.architectures import build_model
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.plan.weight_chunks import tables


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("llama", {"token_embd.weight"}),
        ("gemma3", set()),  # the embedding is the output head, too
        ("gemma4", {"per_layer_token_embd.weight"}),
    ],
)
def test_numpy_holds_all_but_the_tables(case: str, expected: set[str], tmp_path: Path) -> None:
    write_case(tmp_path / "tiny.gguf", case, "Q8_0")
    gguf = GGUFFile((tmp_path / "tiny.gguf").read_bytes())
    _, plan = build_model(gguf)
    assert tables(plan) == expected
    held = [info for name, info in plan.weights.items() if name not in expected]
    assert numpy_executor(gguf).memory_bytes == sum(4 * math.prod(info.shape) for info in held)
