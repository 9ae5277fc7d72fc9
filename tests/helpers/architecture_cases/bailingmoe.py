"""Ling 1."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _bailingmoe(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16, rope_dim=16)
    file.expert_sizes(6, 2, 64, n_shared=2)
    file.writer.add_expert_weights_norm(True)
    file.writer.add_expert_weights_scale(1.5)
    add_byte_level_vocabulary(file.writer, VOCAB, "bailingmoe")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"bailingmoe": Case("bailingmoe", _bailingmoe, has_experts=True)}
