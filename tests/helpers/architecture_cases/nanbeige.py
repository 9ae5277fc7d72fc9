"""Nanbeige."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _nanbeige(file: TinyFile) -> None:
    file.sizes(2, 4, 2, 16)
    file.writer.add_uint32("nanbeige.num_loops", 2)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


CASES = {"nanbeige": Case("nanbeige", _nanbeige)}
