"""Apertus."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _apertus(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    file.writer.add_xielu_alpha_p([0.6, 0.9, 0.3])
    file.writer.add_xielu_alpha_n([0.8, -0.4, 1.2])
    file.writer.add_xielu_beta([0.5, 0.5, 0.4])
    file.writer.add_xielu_eps([-1e-6, -1e-6, -1e-6])
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "attn_q_norm", file.head_dim)
        file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "ffn_norm", WIDTH)
        file.feed_forward(block, bias=False)
    file.norm("output_norm", WIDTH)


CASES = {"apertus": Case("apertus", _apertus)}
