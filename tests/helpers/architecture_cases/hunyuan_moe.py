"""Hunyuan as a mixture of experts."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _hunyuan_moe(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32)
    file.expert_sizes(6, 2, FFN, n_shared=1)
    file.writer.add_expert_shared_feed_forward_length(FFN)
    add_byte_level_vocabulary(file.writer, VOCAB, "hunyuan")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "attn_q_norm", file.head_dim)
        file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"hunyuan-moe": Case("hunyuan-moe", _hunyuan_moe, has_experts=True)}
