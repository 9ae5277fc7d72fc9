"""Qwen 3 VL as a mixture of experts, the text part."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _qwen3vlmoe(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32)
    file.expert_sizes(6, 2, 64)
    file.writer.add_rope_dimension_sections([6, 5, 5, 0])
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "attn_q_norm", file.head_dim)
        file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"qwen3vlmoe": Case("qwen3vlmoe", _qwen3vlmoe, has_experts=True)}
