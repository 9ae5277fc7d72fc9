"""PLaMo."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _plamo(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    add_byte_level_vocabulary(file.writer, VOCAB)
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


CASES = {"plamo": Case("plamo", _plamo)}
