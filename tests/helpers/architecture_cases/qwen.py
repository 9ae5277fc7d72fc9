"""Qwen."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _qwen(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16, ffn=2 * FFN)
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, merged=True)
        file.bias(block + "attn_qkv", 3 * WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


CASES = {"qwen": Case("qwen", _qwen)}
