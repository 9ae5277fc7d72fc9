"""Jais."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _jais(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16, layer_norm=True)
    file.writer.add_max_alibi_bias(8.0)
    add_byte_level_vocabulary(file.writer, VOCAB, "gpt-2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True, merged=True)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.gated_feed_forward(block, bias=True)
    file.norm("output_norm", WIDTH, bias=True)


CASES = {"jais": Case("jais", _jais)}
