"""Phi 2."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _phi2(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16, rope_dim=8, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "gpt-2")
    file.embedding(bias=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True, merged=True)
        file.feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


CASES = {"phi2": Case("phi2", _phi2)}
