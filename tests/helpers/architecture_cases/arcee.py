"""Arcee."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _arcee(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH)
        file.feed_forward(block, bias=False)
    file.norm("output_norm", WIDTH)


CASES = {"arcee": Case("arcee", _arcee)}
