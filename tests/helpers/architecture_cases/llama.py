"""Llama, with each kind of rotary scaling, Mistral's window and Mixtral's experts."""

import numpy as np
from gguf import RopeScalingType
from gguf_files import write_tiny_experts
from gguf_vocabularies import add_byte_level_vocabulary, add_sentencepiece_vocabulary
from tiny_file import VOCAB, Case, OtherCase, TinyFile, llama_like


def _llama(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32, rope_dim=32)
    file.writer.add_rope_freq_base(50000.0)  # NTK-aware scaling: another base
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    llama_like(file)


def _mistral(file: TinyFile) -> None:
    """Llama with a sliding window in every layer."""
    file.sizes(3, 4, 2, 32, rope_dim=32)
    file.writer.add_sliding_window(8)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    llama_like(file)


def _llama3(file: TinyFile) -> None:
    """Llama 3's frequency factors, tied embeddings, biases everywhere."""
    file.sizes(3, 4, 1, 16)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.vector("rope_freqs.weight", np.linspace(1.0, 8.0, 8))
    llama_like(file, tied=True, bias=True, output_bias=True, ffn_bias=True)


def _llama_linear(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    file.writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    file.writer.add_rope_scaling_factor(4.0)
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    llama_like(file)


def _llama_yarn(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32, rope_dim=32)
    file.writer.add_rope_scaling_type(RopeScalingType.YARN)
    file.writer.add_rope_scaling_factor(8.0)
    file.writer.add_rope_scaling_orig_ctx_len(64)
    add_byte_level_vocabulary(file.writer, VOCAB)
    llama_like(file)


CASES = {
    "llama": Case("llama", _llama),
    "llama3": Case("llama", _llama3),
    "llama-linear": Case("llama", _llama_linear),
    "llama-yarn": Case("llama", _llama_yarn),
    "mistral": Case("llama", _mistral, oracle="transformers", family="llama: Mistral"),
    "mixtral": OtherCase(
        "llama", write_tiny_experts, {"arch": "llama", "seed": 61}, family="llama: Mixtral"
    ),
}
