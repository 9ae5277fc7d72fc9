"""Tiny GGUF files of every family of decoders: random weights, a real vocabulary.

A case is written twice from the same seed: as Q8_0, and as F32 with the very values that the Q8_0
file holds, so that one set of exact logits serves both. The random numbers and their rounding are
the same on every machine; tests/golden/make_architectures.py and the tests write equal files.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import gguf
import numpy as np
from gguf import GGMLQuantizationType, RopeScalingType
from gguf_vocabularies import add_byte_level_vocabulary, add_sentencepiece_vocabulary

Format = Literal["F32", "Q8_0"]

TEXT = (
    "the fox and the other runs over the hill to see what is on the way to the house. It has 12 "
    "dogs, said the man; the others went home and what they tell us in the end is not the same"
)
# Ids for a measure of rounding errors, which needs more tokens than a text gives.
MANY_IDS = np.random.default_rng(1).integers(4, 260, (4, 250)).tolist()
VOCAB, WIDTH, FFN, CONTEXT = 320, 64, 96, 512


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
        writer.add_feed_forward_length(FFN)
        writer.add_head_count(n_heads)
        writer.add_head_count_kv(n_kv_heads)
        if head_dim * n_heads != WIDTH:
            writer.add_key_length(head_dim)
            writer.add_value_length(head_dim)
        if rope_dim is not None:
            writer.add_rope_dimension_count(rope_dim)
        if layer_norm:
            writer.add_layer_norm_eps(1e-5)
        else:
            writer.add_layer_norm_rms_eps(1e-5)
        self.n_q, self.n_kv, self.head_dim = n_heads * head_dim, n_kv_heads * head_dim, head_dim
        self.n_heads, self.n_kv_heads, self.n_layers = n_heads, n_kv_heads, n_layers

    def matrix(self, name: str, n_in: int, n_out: int, size: float = 1.0) -> None:
        """Outputs are `size` times as large as inputs."""
        values = (self.random(n_out, n_in) * (size / np.sqrt(n_in))).astype(np.float32)
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

    def blocks(self) -> list[str]:
        return [f"blk.{layer}." for layer in range(self.n_layers)]

    def finish(self) -> None:
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def _llama_like(
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


def fill_llama(file: TinyFile) -> None:
    """What the case "llama" holds."""
    file.sizes(3, 4, 2, 32, rope_dim=32)
    file.writer.add_rope_freq_base(50000.0)  # NTK-aware scaling: another base
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    _llama_like(file)


def _mistral(file: TinyFile) -> None:
    """Llama with a sliding window in every layer."""
    file.sizes(3, 4, 2, 32, rope_dim=32)
    file.writer.add_sliding_window(8)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    _llama_like(file)


def _llama3(file: TinyFile) -> None:
    """Llama 3's divisors of frequencies, tied embeddings, biases everywhere."""
    file.sizes(3, 4, 1, 16)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.vector("rope_freqs.weight", np.linspace(1.0, 8.0, 8))
    _llama_like(file, tied=True, bias=True, output_bias=True, ffn_bias=True)


def _llama_linear(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    file.writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    file.writer.add_rope_scaling_factor(4.0)
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    _llama_like(file)


def _llama_yarn(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32, rope_dim=32)
    file.writer.add_rope_scaling_type(RopeScalingType.YARN)
    file.writer.add_rope_scaling_factor(8.0)
    file.writer.add_rope_scaling_orig_ctx_len(64)
    add_byte_level_vocabulary(file.writer, VOCAB)
    _llama_like(file)


def _mistral3(file: TinyFile) -> None:
    """YaRN that leaves the magnitude, with bounds of its own, and a temperature of attention."""
    file.sizes(3, 4, 2, 32, rope_dim=32)
    writer = file.writer
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(16.0)
    writer.add_rope_scaling_orig_ctx_len(16)
    writer.add_float32("mistral3.rope.scaling.yarn_beta_fast", 4.0)
    writer.add_float32("mistral3.rope.scaling.yarn_beta_slow", 0.5)
    writer.add_float32("mistral3.rope.scaling.yarn_log_multiplier", 1.0)
    writer.add_float32("mistral3.attention.temperature_scale", 0.4)
    add_byte_level_vocabulary(writer, VOCAB)
    _llama_like(file)


def _qwen2(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    _llama_like(file, tied=True, bias=True)


def _qwen3(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32)
    file.writer.add_rope_freq_base(1e6)
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    _llama_like(file, qk_norm=True)


def _smollm3(file: TinyFile) -> None:
    file.sizes(5, 4, 2, 16, rope_dim=16)
    add_byte_level_vocabulary(file.writer, VOCAB)
    _llama_like(file, tied=True)


def _granite(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    file.writer.add_attention_scale(0.2)
    file.writer.add_embedding_scale(12.0)
    file.writer.add_residual_scale(0.6)
    file.writer.add_logit_scale(1.6)
    add_byte_level_vocabulary(file.writer, VOCAB, "refact")
    _llama_like(file, embedding_scale=12.0)


def _gemma(file: TinyFile) -> None:
    file.sizes(3, 2, 1, 64)
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    _llama_like(file, tied=True, embedding_scale=np.sqrt(WIDTH))


def _gemma_with_post_norms(file: TinyFile, *, qk_norm: bool) -> None:
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    file.embedding(tied=True, scale=np.sqrt(WIDTH))
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        if qk_norm:
            file.norm(block + "attn_q_norm", file.head_dim)
            file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "post_attention_norm", WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
        file.norm(block + "post_ffw_norm", WIDTH)
    file.norm("output_norm", WIDTH)


def _gemma2(file: TinyFile) -> None:
    file.sizes(4, 4, 2, 32)
    file.writer.add_sliding_window(8)
    file.writer.add_attn_logit_softcapping(2.0)
    file.writer.add_final_logit_softcapping(3.0)
    _gemma_with_post_norms(file, qk_norm=False)


def _gemma3(file: TinyFile) -> None:
    file.sizes(7, 4, 1, 32)
    file.writer.add_sliding_window(8)
    file.writer.add_rope_freq_base(1e6)
    file.writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    file.writer.add_rope_scaling_factor(8.0)
    _gemma_with_post_norms(file, qk_norm=True)


def _phi2(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16, rope_dim=8, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "gpt-2")
    file.embedding(bias=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True, merged=True)
        file.feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


def _phi3(file: TinyFile) -> None:
    """Trained for 256 positions: the divisors depend on whether more are asked for."""
    file.sizes(3, 4, 2, 16, rope_dim=12, context_length=1024)
    file.writer.add_rope_scaling_orig_ctx_len(256)
    file.writer.add_rope_scaling_attn_factors(1.2)
    file.writer.add_sliding_window(8)  # which is to be left out
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    file.vector("rope_factors_short.weight", np.linspace(1.0, 1.5, 6))
    file.vector("rope_factors_long.weight", np.linspace(1.0, 16.0, 6))
    _llama_like(file, merged=True)


def _command_r(
    file: TinyFile, *, n_layers: int = 5, windows: bool = False, qk_norm: bool = False
) -> None:
    file.sizes(n_layers, 4, 2, 16, layer_norm=True)
    file.writer.add_logit_scale(0.3)
    if windows:
        file.writer.add_sliding_window(8)
    add_byte_level_vocabulary(file.writer, VOCAB, "command-r")
    file.embedding(tied=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        if qk_norm:
            file.norm(block + "attn_q_norm", file.n_heads, file.head_dim)
            file.norm(block + "attn_k_norm", file.n_kv_heads, file.head_dim)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


def _cohere2(file: TinyFile) -> None:
    _command_r(file, windows=True)


def _command_r_plus(file: TinyFile) -> None:
    """llama.cpp looks for norms of heads in models of 64 layers and more."""
    _command_r(file, n_layers=64, qk_norm=True)


def _gpt2(file: TinyFile, n_kv_heads: int = 4) -> None:
    file.sizes(3, 4, n_kv_heads, 16, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "starcoder" if n_kv_heads == 1 else "gpt-2")
    file.embedding(tied=True)
    file.matrix("position_embd.weight", WIDTH, CONTEXT, np.sqrt(WIDTH))
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True, merged=True)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


def _starcoder(file: TinyFile) -> None:
    _gpt2(file, n_kv_heads=1)


def _starcoder2(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "starcoder")
    file.embedding(tied=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


def _falcon(file: TinyFile, *, two_norms: bool = False) -> None:
    file.sizes(3, 4, 2 if two_norms else 1, 16, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "falcon")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        if two_norms:
            file.norm(block + "attn_norm_2", WIDTH, bias=True)
        file.attention(block, merged=True)
        file.feed_forward(block, bias=False)
    file.norm("output_norm", WIDTH, bias=True)


def _falcon_40b(file: TinyFile) -> None:
    _falcon(file, two_norms=True)


def _stablelm(file: TinyFile, *, parallel: bool = False) -> None:
    file.sizes(3, 4, 2, 16, rope_dim=4, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "stablelm2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=not parallel)
        if parallel:
            file.norm(block + "attn_q_norm", file.n_heads, file.head_dim)
            file.norm(block + "attn_k_norm", file.n_kv_heads, file.head_dim)
        else:
            file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


def _stablelm_12b(file: TinyFile) -> None:
    _stablelm(file, parallel=True)


def _olmo2(file: TinyFile, *, windows: bool = False) -> None:
    file.sizes(5 if windows else 3, 4, 2, 16)
    if windows:
        file.writer.add_sliding_window(8)
        file.writer.add_rope_scaling_type(RopeScalingType.YARN)
        file.writer.add_rope_scaling_factor(8.0)
        file.writer.add_rope_scaling_attn_factors(1.2)
        file.writer.add_rope_scaling_orig_ctx_len(64)
    add_byte_level_vocabulary(file.writer, VOCAB, "olmo")
    file.embedding()
    for block in file.blocks():
        file.attention(block)
        file.norm(block + "attn_q_norm", file.n_q)
        file.norm(block + "attn_k_norm", file.n_kv)
        file.norm(block + "post_attention_norm", WIDTH)
        file.gated_feed_forward(block)
        file.norm(block + "post_ffw_norm", WIDTH)
    file.norm("output_norm", WIDTH)


def _olmo3(file: TinyFile) -> None:
    _olmo2(file, windows=True)


# case: architecture, and what fills the file
CASES: Mapping[str, tuple[str, Callable[[TinyFile], None]]] = {
    "cohere2": ("cohere2", _cohere2),
    "command-r": ("command-r", _command_r),
    "command-r-plus": ("command-r", _command_r_plus),
    "falcon": ("falcon", _falcon),
    "falcon-40b": ("falcon", _falcon_40b),
    "gemma": ("gemma", _gemma),
    "gemma2": ("gemma2", _gemma2),
    "gemma3": ("gemma3", _gemma3),
    "gpt2": ("gpt2", _gpt2),
    "granite": ("granite", _granite),
    "llama": ("llama", fill_llama),
    "llama3": ("llama", _llama3),
    "llama-linear": ("llama", _llama_linear),
    "llama-yarn": ("llama", _llama_yarn),
    "mistral": ("llama", _mistral),
    "mistral3": ("mistral3", _mistral3),
    "olmo2": ("olmo2", _olmo2),
    "olmo3": ("olmo2", _olmo3),
    "phi2": ("phi2", _phi2),
    "phi3": ("phi3", _phi3),
    "phi3-long": ("phi3", _phi3),
    "qwen2": ("qwen2", _qwen2),
    "qwen3": ("qwen3", _qwen3),
    "smollm3": ("smollm3", _smollm3),
    "stablelm": ("stablelm", _stablelm),
    "stablelm-12b": ("stablelm", _stablelm_12b),
    "starcoder": ("starcoder", _starcoder),
    "starcoder2": ("starcoder2", _starcoder2),
}

# llama.cpp leaves out the window of such files: its logits are from make_mistral_window.py.
WITH_ANOTHER_ORACLE = ("mistral",)

# Contexts that the models are loaded for, where it matters.
CONTEXT_SIZES = {"phi3": 256, "phi3-long": 512}


def mean_kl(exact: np.ndarray, other: np.ndarray) -> float:
    """Mean over the rows of KL(exact || other), both given as logits."""
    p, q = _log_softmax(exact), _log_softmax(other)
    return float(np.mean(np.sum(np.exp(p) * (p - q), axis=-1)))


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def write_case(path: Path, case: str, format: Format) -> None:
    """Writes a case's file."""
    arch, fill = CASES[case]
    file = TinyFile(path, arch, format, seed=zlib.crc32(case.encode()))
    fill(file)
    file.finish()
