"""EXAONE 4: a small model, and one of as many layers as those that have windows."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _exaone4(file: TinyFile, n_layers: int = 3, window: int = 0) -> None:
    file.sizes(n_layers, 4, 2, 16)
    if window:
        file.writer.add_sliding_window(window)
    add_byte_level_vocabulary(file.writer, VOCAB, "exaone4")
    file.embedding(tied=not window)
    for block in file.blocks():
        file.attention(block)
        file.norm(block + "attn_q_norm", file.head_dim)
        file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "post_attention_norm", WIDTH)
        file.gated_feed_forward(block)
        file.norm(block + "post_ffw_norm", WIDTH)
    file.norm("output_norm", WIDTH)


def _exaone4_32b(file: TinyFile) -> None:
    _exaone4(file, n_layers=64, window=8)


CASES = {
    "exaone4": Case("exaone4", _exaone4),
    "exaone4-32b": Case("exaone4", _exaone4_32b, n_texts=1),
}
