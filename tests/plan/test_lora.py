"""LoRA adapters against merged weights, on both executors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from architecture_files import write_case
from executors import kernel_executor, numpy_executor
from gguf import GGMLQuantizationType
from gguf_files import write_tiny_llama
from lora_files import changes, write_adapter

from oxillama_web import EngineConfig, InferenceEngine
from oxillama_web.architectures import build_model
from oxillama_web.backends.api import Executor
from oxillama_web.errors import InvalidRequestError, ModelFormatError, UnsupportedModelError
from oxillama_web.gguf.dequantize import dequantize
from oxillama_web.gguf.reader import GGUFFile
from oxillama_web.plan.builder import PlanBuilder
from oxillama_web.plan.lora import AppliedLora, LoraAdapter, apply_loras
from oxillama_web.plan.operations.embedding import Embed
from oxillama_web.plan.operations.linear import Linear
from oxillama_web.plan.plan import Plan

TOKENS = [5, 9, 200, 31, 7, 7, 90]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> GGUFFile:
    """Llama with an own output head, all in F32: sums differ by rounding only."""
    path = tmp_path_factory.mktemp("lora") / "model.gguf"
    write_tiny_llama(path, format="F32")
    return GGUFFile(path.read_bytes())


def merged(
    model: GGUFFile, stack: list[tuple[dict[str, tuple[np.ndarray, np.ndarray]], float]]
) -> GGUFFile:
    """The model with the changes added to its F32 weights."""
    data = bytearray(model.buffer)
    for pairs, factor in stack:
        for name, (a, b) in pairs.items():
            info = model.tensors[name]
            values = np.frombuffer(data, np.float32, info.nbytes // 4, info.offset).reshape(
                info.shape[::-1]
            )
            values += np.float32(factor) * (b @ a)
    return GGUFFile(bytes(data))


def executor(model: GGUFFile, kind: str) -> Executor:
    return numpy_executor(model) if kind == "numpy" else kernel_executor(model, kv_cache_type="f32")


def logits(runner: Executor) -> np.ndarray:
    return np.array(runner.forward(runner.new_cache(), TOKENS, "all"), np.float32)


def use(runner: Executor, model: GGUFFile, stack: list[AppliedLora]) -> None:
    config, plan = build_model(model)
    runner.use_plan(*apply_loras(plan, config, model.tensors, stack))


@pytest.fixture(params=["numpy", "kernels"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("format", ["F32", "F16", "BF16"])
def test_an_adapter_equals_merged_weights(
    model: GGUFFile, tmp_path: Path, kind: str, format: str
) -> None:
    pairs = changes(model, seed=1)
    adapter = write_adapter(tmp_path / "adapter.gguf", pairs, format=format)
    exact = {name: tuple(rounded(part, format) for part in pair) for name, pair in pairs.items()}
    runner = executor(model, kind)
    before = logits(runner)
    use(runner, model, [AppliedLora(adapter, 0.5)])
    changed = logits(runner)
    # alpha / rank = 2
    expected = logits(executor(merged(model, [(exact, 0.5 * 8.0 / 4)]), "numpy"))
    largest = np.abs(expected).max()
    assert np.abs(changed - expected).max() < 1e-3 * largest
    assert np.abs(changed - before).max() > 0.1 * largest
    use(runner, model, [])
    np.testing.assert_array_equal(logits(runner), before)


def rounded(values: np.ndarray, format: str) -> np.ndarray:
    number = GGMLQuantizationType[format]
    raw = gguf.quants.quantize(np.ascontiguousarray(values), number)
    return dequantize(raw.tobytes(), int(number), values.size).reshape(values.shape)


def test_adapters_add_up(model: GGUFFile, tmp_path: Path, kind: str) -> None:
    first, second = changes(model, seed=1), changes(model, seed=2, rank=3)
    stack = [
        AppliedLora(write_adapter(tmp_path / "1.gguf", first, alpha=4.0), 1.0),
        AppliedLora(write_adapter(tmp_path / "2.gguf", second, alpha=0.0), -0.25),
        AppliedLora(write_adapter(tmp_path / "3.gguf", first, alpha=4.0), 0.5),
    ]
    runner = executor(model, kind)
    use(runner, model, stack)
    # no alpha: the scale alone
    expected = logits(executor(merged(model, [(first, 1.5), (second, -0.25)]), "numpy"))
    assert np.abs(logits(runner) - expected).max() < 1e-3 * np.abs(expected).max()
    use(runner, model, stack[:1])
    expected = logits(executor(merged(model, [(first, 1.0)]), "numpy"))
    assert np.abs(logits(runner) - expected).max() < 1e-3 * np.abs(expected).max()


def test_over_quantized_weights(tmp_path: Path) -> None:
    """Linear operations still share their quantized input, whatever stands between them."""
    write_tiny_llama(tmp_path / "model.gguf", format="Q8_0")
    model = GGUFFile((tmp_path / "model.gguf").read_bytes())
    stack = [AppliedLora(write_adapter(tmp_path / "a.gguf", changes(model, 1)), 1.0)]
    results = []
    for kind in ("numpy", "kernels"):
        runner = executor(model, kind)
        before = logits(runner)
        use(runner, model, stack)
        results.append(logits(runner))
        use(runner, model, [])
        np.testing.assert_array_equal(logits(runner), before)
    assert np.abs(results[0] - results[1]).max() < 0.02 * np.abs(results[0]).max()


def test_adapters_that_are_gone_hold_no_memory(model: GGUFFile, tmp_path: Path, kind: str) -> None:
    adapter = write_adapter(tmp_path / "adapter.gguf", changes(model, seed=1))
    runner = executor(model, kind)
    use(runner, model, [])
    before = runner.memory_bytes
    for _ in range(3):
        use(runner, model, [AppliedLora(adapter, 1.0)])
        assert runner.memory_bytes > before
    use(runner, model, [])
    assert runner.memory_bytes == before


def wrong_shapes(pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    name = "blk.0.attn_q.weight"
    a, b = pairs[name]
    pairs[name] = (a[:, :-1], b)


def stranger(pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    pairs["blk.9.attn_q.weight"] = pairs["blk.0.attn_q.weight"]


def norm(pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    pairs["output_norm.weight"] = pairs["blk.0.attn_q.weight"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(wrong_shapes, "would fit"), (stranger, "does not have"), (norm, "does not multiply by")],
)
def test_an_adapter_that_does_not_fit_is_refused(
    model: GGUFFile, tmp_path: Path, spoil: Callable[[dict], None], words: str
) -> None:
    pairs = changes(model, seed=1)
    spoil(pairs)
    adapter = write_adapter(tmp_path / "adapter.gguf", pairs)
    with pytest.raises(ModelFormatError, match=words):
        use(executor(model, "numpy"), model, [AppliedLora(adapter)])


def test_an_embedding_that_is_the_output_head_changes_as_either(tmp_path: Path, kind: str) -> None:
    write_tiny_llama(tmp_path / "model.gguf", format="F32", tied=True)
    model = GGUFFile((tmp_path / "model.gguf").read_bytes())
    info = model.tensors["token_embd.weight"]
    embedding = np.frombuffer(model.tensor_data(info.name), np.float32).reshape(info.shape[::-1])
    a, b = changes(model, seed=1)[info.name]
    runner = executor(model, kind)
    before = hidden(runner)
    use(runner, model, [AppliedLora(write_adapter(tmp_path / "e.gguf", {info.name: (a, b)}))])
    changed = hidden(executor(merged(model, [({info.name: (a, b)}, 2.0)]), "numpy"))
    assert_near(hidden(runner), changed)
    assert_near(logits(runner), changed.reshape(len(TOKENS), -1) @ embedding.T)
    use(runner, model, [AppliedLora(write_adapter(tmp_path / "h.gguf", {"output.weight": (a, b)}))])
    np.testing.assert_array_equal(hidden(runner), before)
    assert_near(logits(runner), before.reshape(len(TOKENS), -1) @ (embedding + 2.0 * b @ a).T)


def assert_near(actual: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(actual - expected.reshape(-1)).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("case", ["llama3", "phi3", "starcoder2"])
def test_families_with_biases_or_merged_tensors(case: str, tmp_path: Path, kind: str) -> None:
    write_case(tmp_path / "model.gguf", case, "F32")
    model = GGUFFile((tmp_path / "model.gguf").read_bytes())
    rng = np.random.default_rng(3)
    pairs = {
        name: tuple(rng.standard_normal(size).astype(np.float32) / 8 for size in ((3, i), (o, 3)))
        for name, (i, o) in ((t.name, t.shape) for t in model.tensors.values() if len(t.shape) == 2)
        if name.startswith("blk.")
    }
    assert any("qkv" in name for name in pairs) == (case == "phi3")
    architecture = model.get_str("general.architecture")
    adapter = write_adapter(tmp_path / "a.gguf", pairs, alpha=0.0, architecture=architecture)
    runner = executor(model, kind)
    before = logits(runner)
    use(runner, model, [AppliedLora(adapter, 0.5)])
    expected = logits(executor(merged(model, [(pairs, 0.5)]), "numpy"))
    assert_near(logits(runner), expected)
    assert np.abs(before - expected).max() > 0.1 * np.abs(expected).max()


def test_copies_of_the_models_own_tensors_are_left_out(model: GGUFFile, tmp_path: Path) -> None:
    """Norms, as llama.cpp does (PR 11131), and rotary frequencies, of an older converter."""
    pairs = changes(model, seed=1)
    copies = {"blk.0.attn_norm.weight": np.full(64, 3.0), "rope_freqs.weight": np.ones(8)}
    plain = write_adapter(tmp_path / "plain.gguf", pairs)
    more = write_adapter(tmp_path / "more.gguf", pairs, copies=copies)
    assert more.weights == plain.weights
    results = []
    for adapter in (plain, more):
        runner = executor(model, "numpy")
        use(runner, model, [AppliedLora(adapter)])
        results.append(logits(runner))
    np.testing.assert_array_equal(*results)


def test_other_files_are_refused(model: GGUFFile, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="holds a model"):
        LoraAdapter(model.buffer)
    with pytest.raises(UnsupportedModelError, match="dora"):
        write_adapter(tmp_path / "adapter.gguf", changes(model, 1), kind="dora")
    with pytest.raises(ModelFormatError):
        LoraAdapter(b"GGUF")
    with pytest.raises(ModelFormatError, match="changes no weights"):
        write_adapter(tmp_path / "adapter.gguf", {})


def test_hidden_states_change_too(model: GGUFFile, tmp_path: Path, kind: str) -> None:
    pairs = changes(model, seed=1)
    head = {"output.weight": pairs.pop("output.weight")}
    runner = executor(model, kind)
    before = hidden(runner)
    use(runner, model, [AppliedLora(write_adapter(tmp_path / "head.gguf", head), 1.0)])
    np.testing.assert_array_equal(hidden(runner), before)
    use(runner, model, [AppliedLora(write_adapter(tmp_path / "body.gguf", pairs), 1.0)])
    expected = hidden(executor(merged(model, [(pairs, 2.0)]), "numpy"))
    assert np.abs(hidden(runner) - expected).max() < 1e-3 * np.abs(expected).max()
    assert np.abs(before - expected).max() > 0.1 * np.abs(expected).max()


def hidden(runner: Executor) -> np.ndarray:
    return np.array(runner.hidden_states([(runner.new_cache(), TOKENS)], "all"), np.float32)


@pytest.mark.parametrize("keep", ["lora_a", "lora_b"])
def test_half_a_pair_is_refused(tmp_path: Path, keep: str) -> None:
    writer = gguf.GGUFWriter(tmp_path / "half.gguf", "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_tensor(f"blk.0.attn_q.weight.{keep}", np.ones((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelFormatError, match="only one of the two"):
        LoraAdapter.open(tmp_path / "half.gguf")


def test_the_engine_stacks_adapters(model: GGUFFile, tmp_path: Path, kind: str) -> None:
    write_adapter(tmp_path / "1.gguf", changes(model, seed=1))
    second = write_adapter(tmp_path / "2.gguf", changes(model, seed=2))
    engine = InferenceEngine(EngineConfig(executor=kind, num_threads=1))
    engine.load_model_from_bytes(bytes(model.buffer))
    conversation = engine.conversation()
    conversation.forward_prefill(TOKENS, 0)
    plain = engine.forward_prefill(TOKENS, 0)
    engine.push_lora(tmp_path / "1.gguf")
    assert engine.kv_cache_seq_len == conversation.kv_cache_seq_len == 0
    one = engine.forward_prefill(TOKENS, 0)
    engine.push_lora(second, scale=0.5)
    both = engine.forward_prefill(TOKENS, 0)
    assert not np.array_equal(plain, one) and not np.array_equal(one, both)
    assert [scale for _, scale in engine.lora_stack] == [1.0, 0.5]
    stack = engine.lora_stack
    assert engine.pop_lora() == (second, 0.5)
    np.testing.assert_array_equal(engine.forward_prefill(TOKENS, 0), one)
    engine.clear_loras()
    assert engine.lora_stack == ()
    np.testing.assert_array_equal(engine.forward_prefill(TOKENS, 0), plain)
    engine.apply_lora_stack(stack)
    np.testing.assert_array_equal(engine.forward_prefill(TOKENS, 0), both)
    engine.clear_loras()
    engine.apply_lora_adapters([(tmp_path / "1.gguf", 1.0), (second, 0.5)])
    np.testing.assert_array_equal(conversation.forward_prefill(TOKENS, 0), both)
    engine.clear_loras()
    assert engine.pop_lora() is None


def test_an_adapter_that_is_refused_changes_nothing(model: GGUFFile, tmp_path: Path) -> None:
    engine = InferenceEngine(EngineConfig(executor="kernels", num_threads=1))
    engine.load_model_from_bytes(bytes(model.buffer))
    good = write_adapter(tmp_path / "good.gguf", changes(model, seed=1))
    other = write_adapter(tmp_path / "other.gguf", changes(model, seed=1), architecture="gemma3")
    engine.push_lora(good)
    expected = engine.forward_prefill(TOKENS, 0)
    with pytest.raises(UnsupportedModelError, match="gemma3"):
        engine.apply_lora_adapters([(good, 1.0), (other, 1.0)])
    with pytest.raises(InvalidRequestError, match="scale"):
        engine.push_lora(good, float("nan"))
    with pytest.raises(OSError, match="missing"):
        engine.push_lora(tmp_path / "missing.gguf")
    assert engine.lora_stack == ((good, 1.0),)
    assert engine.kv_cache_seq_len == len(TOKENS)
    engine.reset()
    np.testing.assert_array_equal(engine.forward_prefill(TOKENS, 0), expected)


def test_a_merged_tensor_that_the_plan_splits(model: GGUFFile, tmp_path: Path, kind: str) -> None:
    """As phi3's, whose Q, K and V are rows of one tensor: the rows of B go to their parts."""
    name = "output.weight"
    n_out = model.tensors[name].shape[1]

    def split_plan() -> Plan:
        builder = PlanBuilder(model.tensors)
        Embed.append(builder, "x", "token_embd.weight")
        builder.split_rows(name, {"first": 24, "second": n_out - 24})
        Linear.append(builder, "a", "x", "first")
        Linear.append(builder, "b", "x", "second")
        return builder.build("b")

    def split_executor(model: GGUFFile) -> Executor:
        if kind == "numpy":
            return numpy_executor(model, split_plan())
        return kernel_executor(model, n_threads=1, plan=split_plan())

    pairs = {name: changes(model, seed=1)[name]}
    stack = [AppliedLora(write_adapter(tmp_path / "adapter.gguf", pairs))]
    runner = split_executor(model)
    runner.use_plan(*apply_loras(split_plan(), build_model(model)[0], model.tensors, stack))
    expected = split_executor(merged(model, [(pairs, 2.0)]))
    assert np.abs(logits(runner) - logits(expected)).max() < 1e-3 * np.abs(logits(expected)).max()
