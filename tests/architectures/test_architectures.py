"""Every family on a tiny file of random weights, against logits that llama.cpp computes from it.

tests/golden/make_architectures.py made the golden files; tests/golden/README.md tells how.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import sys
import textwrap
import zlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from architecture_files import (
    CASES,
    EXPERTS_AND_ENCODERS,
    MANY_IDS,
    TEXT,
    divergence,
    many_ids,
    write_case,
)
from executors import numpy_executor
from paths import GOLDEN as GOLDEN_FOLDER
from paths import ROOT
from tiny_file import Format, TinyFile

from oxillama_web import EngineConfig, InferenceEngine, architectures
from oxillama_web.architectures import build_model, supported_architectures
from oxillama_web.errors import InvalidRequestError, ModelFormatError, UnsupportedModelError
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.plan.operations.attention import Attention
from oxillama_web.plan.operations.rope import RopeTable

GOLDEN = GOLDEN_FOLDER / "architectures"


def golden(case: str) -> dict:
    return json.loads((GOLDEN / f"{case}.json").read_text())


def load(
    folder: Path, case: str, format: Format, executor: str, n_threads: int = 1
) -> InferenceEngine:
    path = folder / f"{format}.gguf"
    write_case(path, case, format)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == golden(case)["sha256"][format]
    config = EngineConfig(
        model_path=str(path),
        executor=executor,
        context_size=CASES[case].context_size,
        num_threads=n_threads,
    )
    engine = InferenceEngine(config)
    engine.load_model()
    return engine


def logits(engine: InferenceEngine, ids: list[int], piece: int = 0) -> np.ndarray:
    """At every position; `piece` tokens a forward pass, 0: all at once."""
    model = engine._model
    cache = model.executor.new_cache()
    rows = []
    for start in range(0, len(ids), piece or len(ids)):
        part = ids[start : start + (piece or len(ids))]
        flat = model.executor.forward(cache, part, "all")
        rows.append(np.array(flat, np.float64).reshape(len(part), -1))
    return np.concatenate(rows)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_llama_cpp(case: str, tmp_path: Path) -> None:
    """NumPy computes llama.cpp's exact values; the kernels stray no further than it does.

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
    both = [[logits(engine, many) for many in many_ids(case)] for engine in (exact, quantized)]
    kl = divergence(case, *both)
    assert error < 2e-3
    assert kl < 1.1 * expected["llamacpp_kl"]


@pytest.mark.parametrize("case", CASES)
def test_pieces_and_threads_change_no_bit(case: str, tmp_path: Path) -> None:
    ids = MANY_IDS[0][:41]
    one = load(tmp_path, case, "Q8_0", "kernels")
    whole = logits(one, ids)
    if not CASES[case].is_encoder:
        np.testing.assert_array_equal(logits(one, ids, piece=9), whole)
    two = load(tmp_path, case, "Q8_0", "kernels", n_threads=2)
    np.testing.assert_array_equal(logits(two, ids), whole)


def tiny_llama(folder: Path, **metadata: float | int | str | list[int]) -> GGUFFile:
    """The case "llama" with more metadata; two underscores stand for a dot."""
    file = TinyFile(folder / "llama.gguf", "llama", "F32", seed=0)
    for name, value in metadata.items():
        key = "llama." + name.replace("__", ".")
        if isinstance(value, str):
            file.writer.add_string(key, value)
        elif isinstance(value, float):
            file.writer.add_float32(key, value)
        elif isinstance(value, int):
            file.writer.add_int32(key, value)
        else:
            file.writer.add_array(key, value)
    CASES["llama"].fill(file)
    file.finish()
    return GGUFFile((folder / "llama.gguf").read_bytes())


def test_a_window_of_mistral_is_as_wide_as_the_file_says(tmp_path: Path) -> None:
    """Of 3 layers with a window of 5, a token sees 3 * (5 - 1) tokens back, and none before.

    llama.cpp leaves out the window of such files.
    """
    model = tiny_llama(tmp_path, attention__sliding_window=5)
    executor = numpy_executor(model)

    def last_logits(ids: list[int]) -> np.ndarray:
        return np.array(executor.forward(executor.new_cache(), ids, "last"))

    ids = MANY_IDS[0][:30]
    before = last_logits(ids)
    for distance, is_seen in ((0, True), (11, True), (12, True), (13, False), (29, False)):
        changed = list(ids)
        changed[-1 - distance] = 5 if ids[-1 - distance] != 5 else 6
        assert (np.abs(last_logits(changed) - before).max() > 1e-4) == is_seen, distance


def test_an_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "wavtokenizer")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedModelError, match="'wavtokenizer'") as refusal:
        build_model(GGUFFile((tmp_path / "other.gguf").read_bytes()))
    assert all(name in str(refusal.value) for name in supported_architectures())


def test_the_docs_name_every_architecture() -> None:
    text = (ROOT / "docs" / "families.md").read_text()
    listed = text.split("that load:\n\n")[1].split("\n\n")[0]
    assert re.findall(r"`([^`]+)`", listed) == list(supported_architectures())
    n = re.search(r"\| architectures \| (\d+):", (ROOT / "README.md").read_text())
    assert n is not None and int(n[1]) == len(supported_architectures())


def test_every_architecture_has_a_case() -> None:
    cases = [*CASES.values(), *EXPERTS_AND_ENCODERS.values()]
    named = {case.architecture for case in cases} | {name for _, name in OTHER_NAMES}
    assert named == set(supported_architectures())


# Cases, and the other names that their architecture goes by.
OTHER_NAMES = [("llama", "mistral"), ("mistral", "mistral"), ("phi2", "phi"), ("phi3", "phi")]


@pytest.mark.parametrize(("case", "name"), OTHER_NAMES)
def test_another_name_of_an_architecture(case: str, name: str, tmp_path: Path) -> None:
    """The same weights under the other name give the same logits."""
    expected = load(tmp_path, case, "Q8_0", "kernels")
    file = TinyFile(tmp_path / "other.gguf", name, "Q8_0", seed=zlib.crc32(case.encode()))
    CASES[case].fill(file)
    file.finish()
    context_size = CASES[case].context_size
    engine = InferenceEngine(EngineConfig(str(tmp_path / "other.gguf"), context_size=context_size))
    engine.load_model()
    assert engine.model_config is not None and engine.model_config.architecture == name
    ids = engine.tokenize(TEXT)[:40]
    assert ids == expected.tokenize(TEXT)[:40]
    np.testing.assert_array_equal(logits(engine, ids), logits(expected, ids))


def test_a_module_is_named_after_its_architecture() -> None:
    modules = {path.stem for path in Path(architectures.__file__).parent.glob("*.py")}
    named = {name.replace("-", "_") for name in supported_architectures()}
    shared = (
        "feed_forwards hyperparameters latent model_builder per_layer_embeddings ranking_head "
        "recurrent rope routing steps"
    )
    assert modules - named == {"__init__", *shared.split()}


def renamed(case: str, folder: Path, architecture: str) -> GGUFFile:
    """The file of a case whose name is that of its architecture, with another name."""
    write_case(folder / "renamed.gguf", case, "F32")
    model = GGUFFile((folder / "renamed.gguf").read_bytes())
    model.metadata = {
        key.replace(f"{case}.", f"{architecture}."): value for key, value in model.metadata.items()
    } | {"general.architecture": architecture}
    return model


def test_an_architecture_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documentation's example under a new name is found, though nothing else names it."""
    guide = (ROOT / "docs" / "adding-an-architecture.md").read_text()
    example = textwrap.dedent(guide.partition("```python\n")[2].partition("   ```")[0])
    (tmp_path / "brand_new_3.py").write_text(example.replace('= "qwen3"', '= "brand-new_3"'))
    model = renamed("qwen3", tmp_path, "brand-new_3")
    with pytest.raises(UnsupportedModelError):
        build_model(model)
    monkeypatch.setattr(architectures, "__path__", [*architectures.__path__, str(tmp_path)])
    try:
        assert "brand-new_3" in supported_architectures()
        assert build_model(model)[1] == build_model(renamed("qwen3", tmp_path, "qwen3"))[1]
    finally:
        sys.modules.pop("oxillama_web.architectures.brand_new_3", None)


@pytest.mark.parametrize("name", ["command_r", "rope", "model_builder", "", "llama.x", "../llama"])
def test_an_architecture_has_one_name(name: str, tmp_path: Path) -> None:
    names = ", ".join(supported_architectures())
    with pytest.raises(UnsupportedModelError, match=f"not supported; these are: {names}"):
        build_model(renamed("llama", tmp_path, name))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"rope__scaling__type": "yarm"}, "'yarm' is not supported; these are: none, linear, dyn"),
        ({"rope__scaling__factor": -2.0}, "rope.scaling.factor is -2"),
        ({"rope__scaling__factor": float("nan")}, "rope.scaling.factor is nan"),
        (
            {"rope__scaling__type": "yarn", "rope__scaling__original_context_length": 0},
            "original_context_length is 0",
        ),
        (
            {"rope__scaling__type": "yarn", "rope__scaling__yarn_beta_fast": 0.0},
            "yarn_beta_fast is 0",
        ),
        (
            {"rope__scaling__type": "yarn", "rope__scaling__yarn_beta_slow": float("inf")},
            "yarn_beta_slow is inf",
        ),
        (
            {
                "rope__scaling__type": "yarn",
                "rope__scaling__factor": 8.0,
                "rope__scaling__yarn_log_multiplier": -10.0,
            },
            "yarn_log_multiplier is -10",
        ),
        ({"rope__scaling__type": "none", "rope__scaling__factor": 4.0}, None),
    ],
)
def test_scaling_that_cannot_be(
    tmp_path: Path, metadata: dict[str, float | int | str], message: str | None
) -> None:
    model = tiny_llama(tmp_path, **metadata)
    if message is None:
        build_model(model)
        return
    with pytest.raises((ModelFormatError, UnsupportedModelError), match=message):
        build_model(model)


def test_dynamic_scaling_is_for_the_context_that_is_asked_for(tmp_path: Path) -> None:
    """The base of transformers' `_compute_dynamic_ntk_parameters` for a sequence so long."""
    scaling = {"rope__scaling__type": "dynamic", "rope__scaling__factor": 4.0}
    model = tiny_llama(tmp_path, **scaling)

    def frequencies(context_size: int) -> tuple[float, ...]:
        plan = build_model(model, context_size)[1]
        return next(op.frequencies for op in plan.ops if isinstance(op, RopeTable))

    for context_size, growth in ((100, 1.0), (512, 1.0), (1024, 4.0 * 2 - 3), (1280, 4 * 2.5 - 3)):
        base = 50000.0 * growth ** (32 / 30)
        assert frequencies(context_size) == pytest.approx([base ** (-j / 16) for j in range(16)])


def test_learned_positions_end(tmp_path: Path) -> None:
    write_case(tmp_path / "gpt2.gguf", "gpt2", "Q8_0")
    model = GGUFFile((tmp_path / "gpt2.gguf").read_bytes())
    assert build_model(model, 512)[0].context_size == 512
    with pytest.raises(InvalidRequestError, match=r"513.*512 positions"):
        build_model(model, 513)


def test_windows_follow_the_pattern_that_a_file_states(tmp_path: Path) -> None:
    def windows(pattern: int | list[bool] | None) -> list[int]:
        file = TinyFile(tmp_path / "gemma3.gguf", "gemma3", "Q8_0", seed=0)
        if isinstance(pattern, int):
            file.writer.add_sliding_window_pattern(pattern)
        elif pattern:
            file.writer.add_array("gemma3.attention.sliding_window_pattern", pattern)
        CASES["gemma3"].fill(file)
        file.finish()
        _, plan = build_model(GGUFFile((tmp_path / "gemma3.gguf").read_bytes()))
        return [op.window for op in plan.ops if isinstance(op, Attention)]

    assert windows(None) == [8, 8, 8, 8, 8, 0, 8]
    assert windows(2) == [8, 0, 8, 0, 8, 0, 8]
    assert windows([True, False, False, True, True, True, False]) == [8, 0, 0, 8, 8, 8, 0]
    with pytest.raises(ModelFormatError, match="2 entries for 7 layers"):
        windows([True, False])


@pytest.mark.parametrize("case", [case for case in CASES if case != "command-r-plus"])
def test_broken_files_end_in_a_clear_error(case: str, tmp_path: Path) -> None:
    """Without any one tensor or key, or with a strange number, a file loads or is refused."""
    write_case(tmp_path / "whole.gguf", case, "Q8_0")
    data = (tmp_path / "whole.gguf").read_bytes()
    first_block = [name for name in GGUFFile(data).tensors if not re.match(r"blk\.[1-9]", name)]
    refused = 0
    for name in first_block:
        model = GGUFFile(data)
        del model.tensors[name]
        refused += is_refused(model)
    assert refused > len(first_block) / 3
    model = GGUFFile(data)
    metadata = model.metadata
    keys = [key for key in metadata if not key.startswith(("tokenizer", "general"))]
    for key, value in itertools.product(keys, (None, 0, 1, -1, 2**31, 0.0, -1.5, 1e300, math.nan)):
        model.metadata = {other: metadata[other] for other in metadata if other != key}
        if value is not None:
            model.metadata[key] = value
        is_refused(model)


def is_refused(model: GGUFFile) -> bool:
    try:
        build_model(model)
    except (ModelFormatError, UnsupportedModelError, InvalidRequestError):
        return True
    return False
