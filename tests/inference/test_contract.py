"""What an engine promises with and without a model, a row a promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_files import write_tiny_llama
from lora_files import changes, write_adapter

import oxillama_web
from oxillama_web import (
    EngineConfig,
    InferenceEngine,
    InvalidRequestError,
    LayerPager,
    ModelConfig,
    ModelNotLoadedError,
    OffloadPolicy,
    OxiLlamaError,
    SamplerConfig,
    TokenizerError,
    UnsupportedModelError,
)
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.inference.snapshots import KVSnapshot
from oxillama_web.plan.lora import AppliedLora, LoraAdapter

GREEDY = SamplerConfig.greedy()
BUDGET = OffloadPolicy.budget(400_000)

Call = Callable[[InferenceEngine], Any]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    write_tiny_llama(path, format="F32")
    return path


@pytest.fixture(scope="module")
def adapter(path: Path) -> LoraAdapter:
    return write_adapter(path.with_name("lora.gguf"), changes(GGUFFile(path.read_bytes()), seed=1))


@pytest.fixture
def engine(path: Path) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(str(path), executor="numpy"))
    engine.load_model()
    return engine


@pytest.fixture(params=["new", "closed", "first load failed"])
def without_model(request: pytest.FixtureRequest, path: Path) -> InferenceEngine:
    engine = InferenceEngine(EngineConfig(str(path), executor="numpy"))
    if request.param == "closed":
        engine.load_model()
        engine.generate("the", 2, sampler=GREEDY)
        engine.close()
    if request.param == "first load failed":
        with pytest.raises(OxiLlamaError):
            engine.load_model_from_bytes(path.read_bytes()[:-1])
    return engine


def rows(table: dict[str, Any]) -> list[Any]:
    return [pytest.param(*(row if isinstance(row, tuple) else (row,)), id=name)
            for name, row in table.items()]  # fmt: skip


WITHOUT_A_MODEL: dict[str, tuple[Call, Any]] = {
    "is_loaded": (lambda e: e.is_loaded, False),
    "model_config": (lambda e: e.model_config, None),
    "hidden_size": (lambda e: e.hidden_size, None),
    "kv_cache_seq_len": (lambda e: e.kv_cache_seq_len, 0),
    "is_eos": (lambda e: e.is_eos(0), False),
    "vocab_bytes": (lambda e: e.vocab_bytes(), None),
    "kv_snapshot": (lambda e: e.kv_snapshot(), None),
    "reset": (lambda e: e.reset(), None),
    "prefill nothing": (lambda e: e.prefill([]), None),
    "lora_stack": (lambda e: e.lora_stack, ()),
    "pop_lora": (lambda e: e.pop_lora(), None),
    "clear_loras": (lambda e: e.clear_loras(), None),
    "apply no adapters": (lambda e: e.apply_lora_adapters([]), None),
    "apply an empty stack": (lambda e: e.apply_lora_stack([]), None),
    "layer_pager": (lambda e: e.layer_pager, None),
    "memory": (lambda e: e.metrics_snapshot().memory_bytes, 0),
    "close": (lambda e: e.close(), None),
}


@pytest.mark.parametrize(("call", "expected"), rows(WITHOUT_A_MODEL))
def test_without_a_model(without_model: InferenceEngine, call: Call, expected: object) -> None:
    assert call(without_model) == expected


NEEDS_A_MODEL: dict[str, Call] = {
    "generate": lambda e: e.generate("a"),
    "generate_with_config": lambda e: e.generate_with_config("a", 1, GREEDY),
    "stream": lambda e: list(e.stream("a")),
    "events": lambda e: e.events("a"),
    "chat": lambda e: e.chat([{"role": "user", "content": "a"}]),
    "tokenize": lambda e: e.tokenize("a"),
    "decode_token": lambda e: e.decode_token(1),
    "prefill": lambda e: e.prefill([1]),
    "forward_prefill": lambda e: e.forward_prefill([1], 3),
    "forward_decode": lambda e: e.forward_decode(1, 3),
    "forward_one": lambda e: e.forward_one(1),
    "truncate": lambda e: e.truncate(0),
    "kv_restore": lambda e: e.kv_restore(KVSnapshot.__new__(KVSnapshot)),
    "embed": lambda e: e.embed("a"),
    "embed_batch": lambda e: e.embed_batch(["a"]),
    "rerank": lambda e: e.rerank("a", ["b"]),
    "apply_lora_adapters": lambda e: e.apply_lora_adapters([("nowhere.gguf", 1.0)]),
    "apply_lora_stack": lambda e: e.apply_lora_stack([AppliedLora(None)]),  # type: ignore[arg-type]
    "conversation": lambda e: e.conversation(),
    "context_size": lambda e: e.context_size,
}


@pytest.mark.parametrize("call", rows(NEEDS_A_MODEL))
def test_what_needs_a_model(without_model: InferenceEngine, call: Call) -> None:
    with pytest.raises(ModelNotLoadedError, match="load_model"):
        call(without_model)


WITH_A_MODEL: dict[str, Call] = {
    "is_loaded": lambda e: e.is_loaded,
    "model_config": lambda e: isinstance(e.model_config, ModelConfig),
    "hidden_size": lambda e: e.hidden_size == e.model_config.hidden_size == 64,
    "kv_cache_seq_len": lambda e: (e.prefill([1, 2]), e.kv_cache_seq_len)[1] == 2,
    "reset": lambda e: (e.prefill([1, 2]), e.reset(), e.kv_cache_seq_len)[2] == 0,
    "prefill nothing": lambda e: (e.prefill([]), e.kv_cache_seq_len)[1] == 0,
    "is_eos": lambda e: e.is_eos(e.tokenizer.eos_id) and not e.is_eos(70),
    "vocab_bytes": lambda e: (
        [e.tokenizer.token_bytes(i) for i in range(320)] == [data for _, data in e.vocab_bytes()]
    ),
    "vocab_bytes ascends": lambda e: [i for i, _ in e.vocab_bytes()] == [*range(320)],
    "kv_snapshot": lambda e: isinstance(e.kv_snapshot(), KVSnapshot),
    "pop_lora": lambda e: e.pop_lora() is None,
    "apply an empty stack": lambda e: e.apply_lora_stack([]) is e.apply_lora_adapters([]) is None,
    "layer_pager": lambda e: e.layer_pager is None,
    "metrics": lambda e: e.metrics_snapshot() == e.metrics.snapshot(),
    "embed nothing": lambda e: e.embed("") == [0.0] * e.hidden_size,
    "embed_array": lambda e: np.array_equal(
        e.embed_array(["", "fox"]), np.float32(e.embed_batch(["", "fox"]))
    ),
    "embed_array of none": lambda e: e.embed_array([]).shape == (0, e.hidden_size),
    "embed_batch": lambda e: e.embed_batch(["", "fox"]) == [e.embed(""), e.embed("fox")],
}


@pytest.mark.parametrize("holds", rows(WITH_A_MODEL))
def test_with_a_model(engine: InferenceEngine, holds: Call) -> None:
    assert holds(engine)


def test_a_path_alone_and_with(path: Path) -> None:
    for given in (path, str(path)):
        with InferenceEngine(given) as engine:
            assert engine.config == EngineConfig(str(path))
            model = engine.model
            assert engine.generate("the", 2)
        assert not engine.is_loaded
    with InferenceEngine(EngineConfig(str(path), executor="numpy")) as engine:
        assert engine.executor_name == "numpy"
        assert engine.model is not model
    with InferenceEngine() as engine:
        assert not engine.is_loaded
    with pytest.raises(InvalidRequestError, match="path of a GGUF file"):
        InferenceEngine(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        InferenceEngine("nowhere.gguf")


def test_how_things_are_shown(engine: InferenceEngine) -> None:
    assert repr(InferenceEngine()) == "<InferenceEngine without a model>"
    engine.prefill([1, 2])
    size = engine.context_size
    assert repr(engine) == f"<InferenceEngine: tiny llama (llama), numpy, 2 of {size} tokens>"
    assert repr(engine.conversation()) == f"<Conversation: 0 of {size} tokens>"
    events = [repr(event) for event in engine.events("the", 1)]
    assert events[0].startswith("GenerationEvent('prefill', text='', n_done=")
    assert events[-1].endswith("finish_reason='length')")


def test_an_empty_forward_pass_is_an_error(engine: InferenceEngine) -> None:
    with pytest.raises(InvalidRequestError, match="at least one token"):
        engine.forward_prefill([], 0)
    with pytest.raises(OxiLlamaError):
        InferenceEngine().forward_prefill([], 0)


CONSTANTS: dict[str, tuple[Any, Any]] = {
    "model_path": (EngineConfig().model_path, ""),
    "tokenizer_path": (EngineConfig().tokenizer_path, None),
    "context_size": (EngineConfig().context_size, None),
    "num_threads": (EngineConfig().num_threads, 4),
    "sampler": (EngineConfig().sampler, SamplerConfig()),
    "prefill_chunk_size": (EngineConfig().prefill_chunk_size, 512),
    "prefix_cache_bytes": (EngineConfig().prefix_cache_bytes, 256 << 20),
    "offload_policy": (EngineConfig().offload_policy, None),
    "with_offload": (
        EngineConfig("a", num_threads=2).with_offload(BUDGET),
        EngineConfig("a", num_threads=2, offload_policy=BUDGET),
    ),
    "FLASH_ATTN_THRESHOLD": (oxillama_web.FLASH_ATTN_THRESHOLD, 512),
    "greedy": (GREEDY.temperature, 0.0),
    "mirostat_v2": (
        SamplerConfig.mirostat_v2(3.0, 0.2),
        SamplerConfig(mirostat=2, mirostat_tau=3.0, mirostat_eta=0.2),
    ),
}


@pytest.mark.parametrize(("actual", "expected"), rows(CONSTANTS))
def test_constants(actual: object, expected: object) -> None:
    assert actual == expected


def test_with_offload_changes_a_copy() -> None:
    config = EngineConfig()
    config.with_offload(BUDGET)
    assert config.offload_policy is None


def test_a_load_that_fails_leaves_the_earlier_model(engine: InferenceEngine, path: Path) -> None:
    expected = engine.forward_prefill([1, 2, 3], 0)
    with pytest.raises(OxiLlamaError):
        engine.load_model_from_bytes(path.read_bytes()[:-1])
    engine.config.model_path = "/nowhere/model.gguf"
    with pytest.raises(OSError, match=r"/nowhere/model\.gguf"):
        engine.load_model()
    assert engine.is_loaded
    engine.reset()
    np.testing.assert_array_equal(engine.forward_prefill([1, 2, 3], 0), expected)


def test_a_second_load_replaces(engine: InferenceEngine, tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "wide.gguf", width=128)
    engine.prefill([1, 2])
    engine.load_model_from_bytes((tmp_path / "wide.gguf").read_bytes())
    assert (engine.hidden_size, engine.kv_cache_seq_len) == (128, 0)


def test_adapters_stay_with_the_engine(path: Path, adapter: LoraAdapter) -> None:
    """Pushed before a load or between two, they are applied by the next one."""
    engine = InferenceEngine(EngineConfig(str(path), executor="numpy"))
    engine.load_model()
    plain = engine.forward_one(1)
    engine.push_lora(adapter, 0.5)
    expected = engine.forward_one(1)
    assert not np.array_equal(plain, expected)
    engine.close()
    for _ in range(2):
        assert engine.lora_stack == ((adapter, 0.5),)
        engine.load_model()
        np.testing.assert_array_equal(engine.forward_one(1), expected)
    engine.close()
    assert engine.pop_lora() == (adapter, 0.5)
    engine.load_model()
    np.testing.assert_array_equal(engine.forward_one(1), plain)
    with pytest.raises(InvalidRequestError, match="scale is nan"):
        InferenceEngine().push_lora(adapter, float("nan"))


def test_adapters_that_do_not_fit_are_refused_and_the_model_works(
    path: Path, adapter: LoraAdapter, tmp_path: Path
) -> None:
    expected = InferenceEngine(EngineConfig(str(path), executor="numpy"))
    expected.load_model()
    other = write_adapter(tmp_path / "other.gguf", changes(GGUFFile(path.read_bytes()), seed=1),
                          architecture="gemma3")  # fmt: skip
    engine = InferenceEngine(EngineConfig(str(path), executor="numpy"))
    engine.push_lora(adapter)
    engine.push_lora(other)
    with pytest.raises(UnsupportedModelError, match=r"gemma3 .*loaded without adapters"):
        engine.load_model()
    assert engine.lora_stack == ()
    np.testing.assert_array_equal(engine.forward_one(1), expected.forward_one(1))


def test_a_pager_is_used_by_the_next_load(path: Path) -> None:
    engine, pager = InferenceEngine(EngineConfig(str(path))), LayerPager(BUDGET)
    engine.set_layer_pager(pager)
    assert engine.layer_pager is None
    engine.load_model()
    assert engine.layer_pager is pager


def test_the_tokenizer_is_searched_in_order(tmp_path: Path) -> None:
    """Each place gives "a" another id."""
    path, beside, given = (tmp_path / name for name in ("m.gguf", "tokenizer.json", "given.json"))

    def tokenizer_json(id_of_a: int) -> str:
        vocab = {"x": 0, "y": 1, "z": 2}
        vocab |= {"a": id_of_a, "xyz"[id_of_a]: 3}
        return f'{{"model": {{"type": "BPE", "vocab": {vocab}, "merges": []}}}}'.replace("'", '"')

    def id_of_a(tokenizer_path: Path | None = None, **file: Any) -> list[int]:
        write_tiny_llama(path, with_vocabulary=file.get("with_vocabulary", False))
        if "inside" in file:
            _add_string(path, "tokenizer.huggingface.json", file["inside"])
        engine = InferenceEngine(
            EngineConfig(str(path), tokenizer_path and str(tokenizer_path), executor="numpy")
        )
        engine.load_model()
        return engine.tokenize("a")

    given.write_text(tokenizer_json(0))
    beside.write_text(tokenizer_json(1))
    everything = {"inside": tokenizer_json(2), "with_vocabulary": True}
    assert id_of_a(given, **everything) == [0]
    assert id_of_a(**everything) == [2]
    assert id_of_a(with_vocabulary=True)[0] > 2
    assert id_of_a() == [1]
    beside.unlink()
    with pytest.raises(TokenizerError) as error:
        id_of_a()
    for place in ("tokenizer_path", "tokenizer.huggingface.json", "vocabulary", "beside"):
        assert place in str(error.value)


def _add_string(path: Path, key: str, value: str) -> None:
    """Write the file anew, with one more key."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(path.with_suffix(".new"), "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == gguf.Keys.General.ARCHITECTURE:
            continue
        kind = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=kind)
    writer.add_string(key, value)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".new").replace(path)
