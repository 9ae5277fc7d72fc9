"""Nemotron."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _nemotron(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16, rope_dim=8, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "gpt-2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.feed_forward(block, bias=False)
    file.norm("output_norm", WIDTH, bias=True)


CASES = {"nemotron": Case("nemotron", _nemotron)}
