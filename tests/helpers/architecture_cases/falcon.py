"""Falcon."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _falcon(file: TinyFile, *, two_norms: bool = False) -> None:
    file.sizes(3, 4, 2 if two_norms else 1, 16, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "falcon")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        if two_norms:
            file.norm(block + "attn_norm_2", WIDTH, bias=True)
        file.attention(block, merged=True)
        file.feed_forward(block, bias=False)
    file.norm("output_norm", WIDTH, bias=True)


def _falcon_40b(file: TinyFile) -> None:
    _falcon(file, two_norms=True)


CASES = {
    "falcon": Case("falcon", _falcon),
    "falcon-40b": Case("falcon", _falcon_40b),
}
