"""PLaMo 3."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _plamo3(file: TinyFile) -> None:
    file.sizes(9, 4, 2, 32)
    file.writer.add_sliding_window(8)
    file.writer.add_rope_freq_base(1e6)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, merged=True)
        file.norm(block + "attn_q_norm", file.head_dim)
        file.norm(block + "attn_k_norm", file.head_dim)
        file.vector(block + "post_attention_norm", 1 + 0.2 * file.random(WIDTH))
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block, merged=True)
        file.vector(block + "post_ffw_norm", 1 + 0.2 * file.random(WIDTH))
    file.norm("output_norm", WIDTH)


CASES = {"plamo3": Case("plamo3", _plamo3)}
