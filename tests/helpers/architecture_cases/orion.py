"""Orion."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _orion(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "gpt-2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


CASES = {"orion": Case("orion", _orion)}
