"""Settings and arguments of another kind, or out of range, are refused by name."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import write_tiny_llama

from oxillama_web import (
    DraftModel,
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    LayerPager,
    OffloadPolicy,
    PromptLookup,
    SamplerConfig,
)
from oxillama_web.hub.models import fetch
from oxillama_web.plan.lora import LoraAdapter

ODD = {
    "text": "5", "a fraction": 2.5, "true": True, "nan": math.nan, "infinity": math.inf,
    "negative": -1, "huge": 10**30, "5,000 digits": 10**5000, "bytes": b"5", "a list": [1.5],
    "a mapping": {"a": "b"}, "an object": object(), "none": None, "a NumPy bool": np.bool_(True),
}  # fmt: skip
# The odd values that fields of these types may have.
ALLOWED = {
    "int": set(),
    "float": {"a fraction"},
    "bool": {"true"},
    "str": {"text"},
    "Literal": set(),
    "object": set(),
    "mapping": set(),
    "tuple[int, ...]": set(),
    "tuple[str, ...]": set(),
}
KINDS = {
    "ExecutorChoice": "Literal", "KVCacheType": "Literal", "ContextFull": "Literal",
    "PolicyKind": "Literal", "OffloadPolicy": "object", "Drafter": "object",
    "SamplerConfig": "object", "Mapping[int, float]": "mapping",
}  # fmt: skip
EXTRA = {
    "frequency_penalty": {"negative"}, "presence_penalty": {"negative"},
    "json_schema": {"text", "true", "a mapping"}, "seed": {"negative"},
}  # fmt: skip
# these fractions are above 1
PROBABILITIES = {
    "top_p", "min_p", "typical_p", "top_a", "epsilon_cutoff", "eta_cutoff", "xtc_threshold",
    "xtc_probability", "mirostat_eta",
}  # fmt: skip


def allowed(name: str, annotation: str) -> set[str]:
    plain = annotation.removesuffix(" | None")
    found = ALLOWED.get(KINDS.get(plain, plain), set()) | EXTRA.get(name, set())
    if annotation != plain:
        found = found | {"none"}
    return found - ({"a fraction"} if name in PROBABILITIES else set())


SETTINGS = [
    pytest.param(kind, field, id=f"{kind.__name__}.{field.name}")
    for kind in (EngineConfig, SamplerConfig, OffloadPolicy)
    for field in dataclasses.fields(kind)
]


@pytest.mark.parametrize(("kind", "field"), SETTINGS)
def test_settings(kind: Any, field: Any) -> None:
    for what, value in ODD.items():
        if what in allowed(field.name, field.type):
            kind(**{field.name: value})
            continue
        with pytest.raises(InvalidRequestError) as error:
            kind(**{field.name: value})
        message = str(error.value)
        assert re.match(rf"(a key of )?{field.name}(\['.'\])? is ", message), (what, message)
        assert "must be" in message and len(message) < 300, message


def test_settings_are_checked_when_they_change() -> None:
    config = EngineConfig()
    with pytest.raises(InvalidRequestError, match="num_threads is '2'"):
        config.num_threads = "2"  # type: ignore[assignment]
    assert config.num_threads == 4


def test_plain_values_are_kept() -> None:
    config = EngineConfig(
        Path("a.gguf"), num_threads=np.int64(3), prefill_seconds=np.float32(0.5)  # type: ignore
    )  # fmt: skip
    assert (config.model_path, config.num_threads, config.prefill_seconds) == ("a.gguf", 3, 0.5)
    assert type(config.num_threads) is int and type(config.prefill_seconds) is float
    sampler = SamplerConfig(stop=["x"], banned_tokens=np.array([1, 2]), logit_bias={np.int32(3): 1})  # type: ignore
    assert (sampler.stop, sampler.banned_tokens) == (("x",), (1, 2))
    assert sampler.logit_bias == {3: 1.0}
    assert SamplerConfig(logit_bias={3: -math.inf}).logit_bias == {3: -math.inf}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> InferenceEngine:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_tiny_llama(path, chat_template="{{ messages[0].content }}")
    engine = InferenceEngine(EngineConfig(str(path), executor="numpy"))
    engine.load_model()
    return engine


HELLO = [{"role": "user", "content": "Hello"}]

# What an engine is asked with an odd value, the name in the message, and what is right there.
ARGUMENTS: dict[str, tuple[Callable[[InferenceEngine, Any], Any], str, set[str]]] = {
    "config": (lambda e, v: InferenceEngine(v), "config", {"none", "text"}),
    "model_bytes": (
        lambda e, v: e.load_model_from_bytes(v),
        "model_bytes",
        {"bytes", "a NumPy bool"},
    ),
    "tokenizer_json": (
        lambda e, v: e.load_model_from_bytes(b"", v),
        "tokenizer_json",
        {"text", "bytes", "none"},
    ),
    "consume": (lambda e, v: e.load_model_from_bytes(b"", consume=v), "consume", {"true"}),
    "prompt": (lambda e, v: e.generate(v, 0), "prompt", {"text"}),
    "max_tokens": (lambda e, v: e.generate("a", v), "max_tokens", set()),
    "callback": (lambda e, v: e.generate("a", 0, v), "callback", {"none"}),
    "sampler": (lambda e, v: e.generate("a", 0, sampler=v), "sampler", {"none"}),
    "stop": (lambda e, v: e.generate("a", 0, stop=v), "stop", set()),
    "cancel": (lambda e, v: e.generate("a", 0, cancel=v), "cancel", {"none"}),
    "logprobs": (lambda e, v: e.generate("a", 0, logprobs=v), "logprobs", {"none"}),
    "speculation": (lambda e, v: e.generate("a", 0, speculation=v), "speculation", {"none"}),
    "visible_tokens": (lambda e, v: e.generate("a", 0, visible_tokens=v), "visible_tokens", set()),
    "constraint": (lambda e, v: e.generate("a", 0, constraint=v), "constraint", {"none"}),
    "messages": (lambda e, v: list(e.chat(v, 0)), "messages", set()),
    "tools": (lambda e, v: list(e.chat(HELLO, 0, tools=v)), "tools", {"none"}),
    "variables": (
        lambda e, v: list(e.chat(HELLO, 0, variables=v)),
        "variables",
        {"a mapping", "none"},
    ),
    "prefill": (lambda e, v: e.prefill(v), "tokens", set()),
    "forward_prefill": (lambda e, v: e.forward_prefill([1], v), "pos_start", {"negative"}),
    "forward_one": (lambda e, v: e.forward_one(v), "tokens", {"negative"}),
    "truncate": (lambda e, v: e.truncate(v), "length", {"negative"}),
    "tokenize": (lambda e, v: e.tokenize(v), "text", {"text"}),
    "add_bos": (lambda e, v: e.tokenize("a", v), "add_bos", {"true", "none"}),
    "decode_token": (lambda e, v: e.decode_token(v), "token", {"negative"}),
    "is_eos": (lambda e, v: e.is_eos(v), "token", {"negative"}),
    "embed": (lambda e, v: e.embed(v), "texts", {"text"}),
    "embed_batch": (lambda e, v: e.embed_batch(v), "texts", set()),
    "query": (lambda e, v: e.rerank(v, ["a"]), "query", {"text"}),
    "documents": (lambda e, v: e.rerank("a", v), "documents", set()),
    "top_n": (lambda e, v: e.rerank("a", ["b"], v), "top_n", {"none"}),
    "pooling": (lambda e, v: e.embed("a", v), "pooling", {"none"}),
    "normalize": (lambda e, v: e.embed("a", normalize=v), "normalize", {"true"}),
    "push_lora": (lambda e, v: e.push_lora(v), "adapter", {"text"}),
    "scale": (
        lambda e, v: e.push_lora(LoraAdapter.__new__(LoraAdapter), v),
        "scale",
        {"a fraction", "negative"},
    ),
    "adapters": (lambda e, v: e.apply_lora_adapters(v), "adapters", set()),
    "stack": (lambda e, v: e.apply_lora_stack(v), "stack", set()),
    "set_layer_pager": (lambda e, v: e.set_layer_pager(v), "pager", set()),
    "kv_restore": (lambda e, v: e.kv_restore(v), "snapshot", set()),
    "policy": (lambda e, v: LayerPager(v), "policy", set()),
    "budget": (lambda e, v: OffloadPolicy.budget(v), "ram_bytes", set()),
    "n_draft": (lambda e, v: PromptLookup(v), "n_draft", set()),
    "longest": (lambda e, v: PromptLookup(4, v), "longest", set()),
    "shortest": (lambda e, v: PromptLookup(4, 4, v), "shortest", set()),
    "adapter": (lambda e, v: LoraAdapter(v), "data", {"bytes", "a NumPy bool"}),
    "known model": (lambda e, v: fetch(v), "name", {"text"}),
    "small engine": (lambda e, v: DraftModel(v), "engine", set()),
    "DraftModel": (lambda e, v: DraftModel(e, v), "n_draft", set()),
    "tau": (lambda e, v: SamplerConfig.mirostat_v2(v), "mirostat_tau", {"a fraction"}),
}


@pytest.mark.parametrize(("call", "name", "right"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(
    engine: InferenceEngine,
    call: Callable[[InferenceEngine, Any], Any],
    name: str,
    right: set[str],
) -> None:
    for what in ODD.keys() - right:
        with pytest.raises(InvalidRequestError, match=f"^{name} is .*must be") as error:
            call(engine, ODD[what])
        assert len(str(error.value)) < 300, what
    assert engine.is_loaded


def test_an_unknown_option_is_refused_by_name(engine: InferenceEngine) -> None:
    for call in (engine.generate, engine.events):
        with pytest.raises(InvalidRequestError, match=r"^temperature is no option .*SamplerConfig"):
            call("a", temperature=0.5)  # type: ignore[operator]
    with pytest.raises(InvalidRequestError, match=r"^tool is no option"):
        engine.chat(HELLO, tool=[])  # type: ignore[call-arg]


def test_any_buffer_may_hold_a_model(tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "llama.gguf")
    data = np.fromfile(tmp_path / "llama.gguf", np.uint8)
    engine = InferenceEngine(EngineConfig(executor="numpy"))
    engine.load_model_from_bytes(data)
    with pytest.raises(InvalidRequestError, match="model_bytes is array"):
        engine.load_model_from_bytes(data[::2])
    assert engine.is_loaded


def test_token_ids_may_be_an_array(engine: InferenceEngine) -> None:
    engine.reset()
    expected = engine.forward_prefill([1, 2, 3], 0)
    engine.reset()
    ids = np.array([1, 2, 3], np.int32)
    np.testing.assert_array_equal(engine.forward_prefill(ids, np.int64(0)), expected)  # type: ignore
    engine.reset()
    assert engine.decode_token(ids[0]) == engine.decode_token(1)  # type: ignore[arg-type]
