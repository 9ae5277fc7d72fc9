"""Phi 3.5 MoE."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _phimoe(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16, rope_dim=16)
    file.expert_sizes(6, 2, FFN)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding(bias=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.experts(block)
    file.norm("output_norm", WIDTH, bias=True)


CASES = {"phimoe": Case("phimoe", _phimoe, has_experts=True)}
