"""Seed-OSS."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _seed_oss(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32)
    add_byte_level_vocabulary(file.writer, VOCAB, "seed-coder")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, bias=True)
        file.norm(block + "post_attention_norm", WIDTH)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


CASES = {"seed_oss": Case("seed_oss", _seed_oss)}
