"""MiniCPM 3."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

from .deepseek2 import Q_RANK, latent_attention, latent_sizes


def _minicpm3(file: TinyFile) -> None:
    latent_sizes(file, 3, q_rank=Q_RANK)
    add_byte_level_vocabulary(file.writer, VOCAB)
    file.embedding(tied=True, scale=12.0)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        latent_attention(file, block, q_rank=Q_RANK)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


CASES = {"minicpm3": Case("minicpm3", _minicpm3)}
