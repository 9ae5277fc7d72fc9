"""Granite as a mixture of experts."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _granitemoe(file: TinyFile) -> None:
    """With an expert that every token uses."""
    file.sizes(3, 4, 2, 16)
    file.expert_sizes(6, 2, FFN)
    file.shared_ffn = 160
    file.writer.add_expert_shared_feed_forward_length(file.shared_ffn)
    file.writer.add_attention_scale(0.2)
    file.writer.add_embedding_scale(12.0)
    file.writer.add_residual_scale(0.6)
    file.writer.add_logit_scale(1.6)
    add_byte_level_vocabulary(file.writer, VOCAB, "refact")
    file.embedding(scale=12.0)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"granitemoe": Case("granitemoe", _granitemoe, has_experts=True)}
