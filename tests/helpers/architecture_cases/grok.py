"""Grok 1, and Grok 2 with a feed-forward beside the experts."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _grok(file: TinyFile, *, is_second: bool = False) -> None:
    file.sizes(3, 4, 2, 16)
    file.expert_sizes(6, 2, FFN)
    scale = 78.38367176906169  # that of Grok 1, whose files do not state it
    if is_second:
        scale = 9.0
        file.writer.add_embedding_scale(scale)
        file.writer.add_logit_scale(0.7)
        file.writer.add_attn_output_scale(0.3)
        file.writer.add_attn_logit_softcapping(20.0)
        file.writer.add_final_logit_softcapping(15.0)
    add_byte_level_vocabulary(file.writer, VOCAB, "grok-2")
    file.embedding(scale=scale)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "attn_output_norm", WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block)
        if is_second:
            file.gated_feed_forward(block)
        file.norm(block + ("post_ffw_norm" if is_second else "layer_output_norm"), WIDTH)
    file.norm("output_norm", WIDTH)


def _grok_2(file: TinyFile) -> None:
    _grok(file, is_second=True)


CASES = {
    "grok-1": Case("grok", _grok, has_experts=True),
    "grok-2": Case("grok", _grok_2, has_experts=True),
}
