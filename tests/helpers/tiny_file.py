"""Tiny model files in the making: random weights, a real vocabulary.

The random numbers and their rounding are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import gguf
import numpy as np
from gguf import GGMLQuantizationType
from gguf_vocabularies import add_byte_level_vocabulary

Format = Literal["F32", "Q8_0"]

VOCAB, WIDTH, FFN, CONTEXT = 320, 64, 96, 512


class Case(NamedTuple):
    """A tiny file of a decoder or encoder.

    Attributes:
        architecture: its `general.architecture`.
        fill: writes its metadata and its tensors.
        context_size: what it is loaded for, where that matters.
        oracle: what computed its golden logits.
        family: its row in the table of families, where that has another name than its architecture.
        has_experts: whether rounding may choose other experts for a token here and there: errors
            are then medians over the tokens, not means.
        n_texts: how many of the texts for rounding errors are computed; fewer for many layers.
        is_encoder: whether it gives hidden states, not logits.
    """

    architecture: str
    fill: Callable[[TinyFile], None]
    context_size: int | None = None
    oracle: str = "llama.cpp"
    family: str = ""
    has_experts: bool = False
    n_texts: int = 4
    is_encoder: bool = False


class OtherCase(NamedTuple):
    """A tiny mixture of experts or encoder; golden/experts_and_encoders.json has its values.

    Attributes:
        architecture, oracle, family: as in `Case`.
        write: writes the file.
        options: its arguments. Of 150 seeds, those of the experts keep the routers furthest from a
            tie, where rounding would choose others.
    """

    architecture: str
    write: Callable[..., None]
    options: Mapping[str, Any]
    oracle: str = "llama.cpp"
    family: str = ""


class TinyFile:
    """A file in the making. Weights have the sizes that keep activations near 1."""

    def __init__(self, path: Path, arch: str, format: Format, seed: int) -> None:
        self.arch, self.writer = arch, gguf.GGUFWriter(path, arch)
        self._format = format
        self._rng = np.random.default_rng(seed)

    def random(self, *shape: int) -> np.ndarray:
        """Uniform numbers of variance 1: unlike normal ones, the same bits with every NumPy."""
        return (self._rng.random(shape) - 0.5) * np.sqrt(12.0)

    def sizes(
        self,
        n_layers: int,
        n_heads: int,
        n_kv_heads: int,
        head_dim: int,
        *,
        rope_dim: int | None = None,
        value_dim: int | None = None,
        ffn: int = FFN,
        context_length: int = CONTEXT,
        layer_norm: bool = False,
    ) -> None:
        """What all families state."""
        writer = self.writer
        writer.add_name("tiny")  # llama.cpp takes a name with "phi3" for a certain vocabulary
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_block_count(n_layers)
        writer.add_context_length(context_length)
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(ffn)
        writer.add_head_count(n_heads)
        writer.add_head_count_kv(n_kv_heads)
        if head_dim * n_heads != WIDTH:
            writer.add_key_length(head_dim)
            writer.add_value_length(value_dim or head_dim)
        if rope_dim is not None:
            writer.add_rope_dimension_count(rope_dim)
        if layer_norm:
            writer.add_layer_norm_eps(1e-5)
        else:
            writer.add_layer_norm_rms_eps(1e-5)
        self.n_q, self.n_kv, self.head_dim = n_heads * head_dim, n_kv_heads * head_dim, head_dim
        self.n_heads, self.n_kv_heads, self.n_layers = n_heads, n_kv_heads, n_layers

    def matrix(
        self, name: str, n_in: int, n_out: int, size: float = 1.0, *, n_experts: int = 0
    ) -> None:
        """Outputs are `size` times as large as inputs. With experts: the matrix of each of them."""
        shape = (n_experts, n_out, n_in) if n_experts else (n_out, n_in)
        values = (self.random(*shape) * (size / np.sqrt(n_in))).astype(np.float32)
        data = gguf.quants.quantize(values, GGMLQuantizationType.Q8_0)
        if self._format == "F32":
            data = gguf.quants.dequantize(data, GGMLQuantizationType.Q8_0).astype(np.float32)
        self.writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[self._format])

    def vector(self, name: str, values: np.ndarray) -> None:
        self.writer.add_tensor(name, values.astype(np.float32))

    def norm(self, name: str, *shape: int, bias: bool = False) -> None:
        self.vector(name + ".weight", 1 + 0.2 * self.random(*shape))
        if bias:
            self.bias(name, *shape)

    def bias(self, name: str, *shape: int) -> None:
        self.vector(name + ".bias", 0.3 * self.random(*shape))

    def linear(
        self, name: str, n_in: int, n_out: int, *, bias: bool = False, size: float = 1.0
    ) -> None:
        self.matrix(name + ".weight", n_in, n_out, size)
        if bias:
            self.bias(name, n_out)

    def embedding(self, *, scale: float = 1.0, tied: bool = False, bias: bool = False) -> None:
        """`scale` is what the model multiplies embeddings with."""
        self.matrix("token_embd.weight", WIDTH, VOCAB, np.sqrt(WIDTH) / scale)
        if not tied:
            self.linear("output", WIDTH, VOCAB, size=3.0, bias=bias)

    def attention(
        self, block: str, *, bias: bool = False, output_bias: bool = False, merged: bool = False
    ) -> None:
        if merged:
            self.linear(block + "attn_qkv", WIDTH, self.n_q + 2 * self.n_kv, bias=bias, size=1.5)
        else:
            self.linear(block + "attn_q", WIDTH, self.n_q, bias=bias, size=1.5)
            self.linear(block + "attn_k", WIDTH, self.n_kv, bias=bias, size=1.5)
            self.linear(block + "attn_v", WIDTH, self.n_kv, bias=bias, size=1.5)
        self.linear(block + "attn_output", self.n_q, WIDTH, bias=output_bias)

    def gated_feed_forward(self, block: str, *, merged: bool = False, bias: bool = False) -> None:
        if merged:
            self.linear(block + "ffn_up", WIDTH, 2 * FFN, size=1.5)
        else:
            self.linear(block + "ffn_gate", WIDTH, FFN, size=1.5, bias=bias)
            self.linear(block + "ffn_up", WIDTH, FFN, size=1.5, bias=bias)
        self.linear(block + "ffn_down", FFN, WIDTH, bias=bias)

    def feed_forward(self, block: str, *, bias: bool = True) -> None:
        self.linear(block + "ffn_up", WIDTH, FFN, bias=bias, size=1.5)
        self.linear(block + "ffn_down", FFN, WIDTH, bias=bias)

    def expert_sizes(self, n_experts: int, n_used: int, ffn: int, n_shared: int = 0) -> None:
        """`ffn`: of one expert; `n_shared`: as many experts' sizes has what every token uses."""
        self.n_experts, self.expert_ffn, self.shared_ffn = n_experts, ffn, n_shared * ffn
        self.writer.add_expert_count(n_experts)
        self.writer.add_expert_used_count(n_used)
        self.writer.add_expert_feed_forward_length(ffn)
        if n_shared:
            self.writer.add_expert_shared_count(n_shared)

    def experts(
        self,
        block: str,
        *,
        selection_bias: bool = False,
        bias: bool = False,
        gated: bool = True,
    ) -> None:
        n, ffn = self.n_experts, self.expert_ffn
        self.vector(block + "ffn_gate_inp.weight", self.random(n, WIDTH) * (2 / np.sqrt(WIDTH)))
        if selection_bias:
            self.vector(block + "exp_probs_b.bias", 0.2 * self.random(n))
        if gated:
            self.matrix(block + "ffn_gate_exps.weight", WIDTH, ffn, 1.5, n_experts=n)
        self.matrix(block + "ffn_up_exps.weight", WIDTH, ffn, 1.5, n_experts=n)
        self.matrix(block + "ffn_down_exps.weight", ffn, WIDTH, n_experts=n)
        if bias:
            self.bias(block + "ffn_gate_inp", n)
            self.bias(block + "ffn_gate_exps", n, ffn)
            self.bias(block + "ffn_up_exps", n, ffn)
            self.bias(block + "ffn_down_exps", n, WIDTH)
        if self.shared_ffn:
            self.linear(block + "ffn_gate_shexp", WIDTH, self.shared_ffn)
            self.linear(block + "ffn_up_shexp", WIDTH, self.shared_ffn)
            self.linear(block + "ffn_down_shexp", self.shared_ffn, WIDTH)

    def blocks(self) -> list[str]:
        return [f"blk.{layer}." for layer in range(self.n_layers)]

    def finish(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def llama_case(
    *sizes: int,
    rope_dim: int | None = None,
    sections: Sequence[int] = (),
    pre: str = "llama-bpe",
    **options: Any,
) -> Callable[[TinyFile], None]:
    """What fills a file of a family whose tensors are `llama_like`.

    Args:
        sizes, rope_dim, pre: see `TinyFile.sizes` and `add_byte_level_vocabulary`.
        sections: of rotary positions.
        options: of `llama_like`.
    """

    def fill(file: TinyFile) -> None:
        n_layers, n_heads, n_kv_heads, head_dim = sizes
        file.sizes(n_layers, n_heads, n_kv_heads, head_dim, rope_dim=rope_dim)
        if sections:
            file.writer.add_rope_dimension_sections(sections)
        add_byte_level_vocabulary(file.writer, VOCAB, pre)
        llama_like(file, **options)

    return fill


def llama_like(
    file: TinyFile,
    *,
    tied: bool = False,
    bias: bool = False,
    output_bias: bool = False,
    ffn_bias: bool = False,
    qk_norm: bool = False,
    merged: bool = False,
    embedding_scale: float = 1.0,
) -> None:
    """Tensors of the families that differ from Llama in little."""
    file.embedding(tied=tied, scale=embedding_scale)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, bias=bias, output_bias=output_bias, merged=merged)
        if qk_norm:
            file.norm(block + "attn_q_norm", file.head_dim)
            file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block, merged=merged, bias=ffn_bias)
    file.norm("output_norm", WIDTH)
