"""BLOOM."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _bloom(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "bloom")
    file.embedding(tied=True)
    file.norm("token_embd_norm", WIDTH, bias=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True, merged=True)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


CASES = {"bloom": Case("bloom", _bloom)}
