"""The plan builder's shape checks."""

from __future__ import annotations

import pytest
from small_plans import builder, one_layer

from oxillama_web.errors import ModelFormatError
from oxillama_web.gguf.reader import TensorInfo
from oxillama_web.plan.builder import PlanBuilder
from oxillama_web.plan.operations.attention import Attention
from oxillama_web.plan.operations.embedding import Embed
from oxillama_web.plan.operations.linear import Linear
from oxillama_web.plan.operations.norms import LayerNorm, RMSNorm
from oxillama_web.plan.plan import KVLayer


def test_widths_follow_from_the_weights() -> None:
    plan = one_layer()
    assert {name: buffer.width for name, buffer in plan.buffers.items()} == {
        "x": 8, "rope": 4, "h": 8, "q": 8, "k": 4, "v": 4, "attended": 8, "delta": 8, "gate": 12,
        "up": 12, "last": 8, "logits": 50,
    }  # fmt: skip
    assert plan.buffers["logits"].rows == "output"
    assert plan.kv_layers == [KVLayer(n_heads=1, k_dim=4, v_dim=4)]


def test_each_weight_is_listed_once() -> None:
    plan = one_layer()
    assert list(plan.weights) == ["embedding", "norm", "q", "k", "v", "o", "gate", "up", "down"]


def test_rows_of_a_merged_tensor_are_weights_of_their_own() -> None:
    tensors = {
        "embedding": TensorInfo("embedding", (32, 50), 8, 0, 50 * 34),
        "qkv": TensorInfo("qkv", (32, 12), 8, 4096, 12 * 34),
        "bias": TensorInfo("bias", (12,), 0, 8192, 48),
    }
    plan = PlanBuilder(tensors)
    plan.split_rows("qkv", {"q": 8, "k": 2, "v": 2})
    plan.split_rows("bias", {"q.bias": 8, "k.bias": 2, "v.bias": 2})
    Embed.append(plan, "x", "embedding")
    Linear.append(plan, "y", "x", "k", "k.bias")
    weights = plan.build("y").weights
    assert weights["k"] == TensorInfo("k", (32, 2), 8, 4096 + 8 * 34, 2 * 34)
    assert weights["k.bias"] == TensorInfo("k.bias", (2,), 0, 8192 + 32, 8)
    assert not plan.has("qkv")
    assert "qkv" in tensors
    with pytest.raises(ModelFormatError, match=r"embedding.*50 rows, not the 40 of a, b"):
        plan.split_rows("embedding", {"a": 20, "b": 20})


def test_norms_of_heads_with_a_weight_each() -> None:
    plan = builder(embedding=(12, 50), heads=(4, 3), bias=(12,), wrong=(5,))
    Embed.append(plan, "x", "embedding")
    LayerNorm.append(plan, "y", "x", "heads", 1e-5, "bias")
    norm = plan.build("y").ops[1]
    assert isinstance(norm, LayerNorm)
    assert (norm.group, norm.bias) == (4, "bias")
    with pytest.raises(ModelFormatError, match=r"wrong.*row of 12"):
        LayerNorm.append(plan, "y", "x", "wrong", 1e-5)
    with pytest.raises(ModelFormatError, match=r"wrong.*12 values of 'heads'"):
        LayerNorm.append(plan, "y", "x", "heads", 1e-5, "wrong")


def test_what_does_not_fit_is_refused_by_name() -> None:
    plan = builder(embedding=(8, 50), narrow=(4, 8), vector=(3,), cube=(8, 8, 2))
    Embed.append(plan, "x", "embedding")
    with pytest.raises(ModelFormatError, match="missing"):
        Linear.append(plan, "y", "x", "missing")
    with pytest.raises(ModelFormatError, match=r"narrow.*4 inputs.*8"):
        Linear.append(plan, "y", "x", "narrow")
    with pytest.raises(ModelFormatError, match=r"cube.*matrix"):
        Linear.append(plan, "y", "x", "cube")
    with pytest.raises(ModelFormatError, match=r"vector.*\(3,\).*8"):
        RMSNorm.append(plan, "y", "x", "vector", 1e-5)
    with pytest.raises(ModelFormatError, match="attention of 3 query"):
        Attention.append(plan, "y", "x", "x", "x", n_heads=3, n_kv_heads=2, scale=1.0)


def test_buffers_of_one_name_and_several_widths_share_their_memory() -> None:
    plan = builder(embedding=(8, 50), small=(8, 4), large=(8, 6), back=(6, 8), narrow=(8, 6))
    Embed.append(plan, "x", "embedding")
    Linear.append(plan, "q", "x", "small")
    Linear.append(plan, "q", "x", "large")
    Linear.append(plan, "y", "q", "back")
    Linear.append(plan, "q", "x", "small")
    with pytest.raises(ModelFormatError, match="'x' cannot change from 8 values in place"):
        Linear.append(plan, "x", "x", "narrow")
    result = plan.build("y")
    assert [(op.reads, op.writes) for op in result.ops[1:]] == [
        (("x",), "q"), (("x",), "q.6"), (("q.6",), "y"), (("x",), "q"),
    ]  # fmt: skip
    assert result.buffers["q.6"].width == 6
    assert result.memory("q.6") == result.memory("q") == "q"


def test_a_bias_that_the_file_lacks_is_left_out() -> None:
    plan = builder(embedding=(8, 50), q=(8, 8), bias=(8,))
    Embed.append(plan, "x", "embedding")
    Linear.append(plan, "a", "x", "q", "bias")
    Linear.append(plan, "b", "x", "q", "no_such_bias")
    with_bias, without_bias = plan.build("b").ops[1:]
    assert isinstance(with_bias, Linear)
    assert isinstance(without_bias, Linear)
    assert (with_bias.bias, without_bias.bias) == ("bias", None)
