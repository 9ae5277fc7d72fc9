"""Tokenizers in Pyodide are ready soon, and encode a long text before anyone waits for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paths import HELPERS, ROOT
from pyodide_in_node import PYODIDES, run_in_node
from test_tokenizer_json import smollm2_pair
from tokenizer_texts import texts

from oxillama_web.gguf.reader import GGUFFile

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.alone]

SCRIPT = HELPERS / "tokenizers_in_pyodide.py"
N_CHARACTERS = 10_000
# in units of the script's plain work, which takes some 20 ms; about three times what is measured
READY = {"smollm2": 15, "smollm2_json": 25, "gemma3": 75}
ENCODED = 25


@pytest.fixture(scope="module")
def files(
    smollm2_path: Path, gemma3_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What the script reads: headers, a tokenizer.json and texts, by its path in Pyodide."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, path in (("smollm2", smollm2_path), ("gemma3", gemma3_path)):
        data = path.read_bytes()
        (folder / f"{name}.gguf").write_bytes(data[: GGUFFile(data).data_start])
    theirs, _ = smollm2_pair(smollm2_path)
    (folder / "tokenizer.json").write_text(theirs.to_str(), "utf-8")
    long_texts = {
        "prose": (ROOT / "LICENSE").read_text("utf-8")[:N_CHARACTERS],
        # all scripts, rare characters, long runs
        "mixed": "".join(texts(2000, ["<|im_end|>"]))[:N_CHARACTERS],
    }
    assert {len(text) for text in long_texts.values()} == {N_CHARACTERS}
    (folder / "texts.json").write_text(json.dumps(long_texts), "utf-8")
    return {f"/tmp/{path.name}": path for path in folder.iterdir()}


@pytest.mark.parametrize("release", PYODIDES)
def test_tokenizers_are_fast_in_pyodide(release: str, wheel: Path, files: dict[str, Path]) -> None:
    result = json.loads(run_in_node(release, wheel, SCRIPT.read_text() + "\nrun()\n", files))
    assert result.keys() == READY.keys()
    for name, times in result.items():
        assert times.pop("ready") < READY[name], name
        assert max(times.values()) < ENCODED, name
