"""Command A as a mixture of experts."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _cohere2moe(file: TinyFile) -> None:
    file.sizes(5, 4, 2, 16, layer_norm=True)
    file.expert_sizes(6, 2, 64, n_shared=1)
    file.writer.add_sliding_window(8)
    file.writer.add_leading_dense_block_count(1)
    file.writer.add_expert_weights_norm(True)
    file.writer.add_logit_scale(0.5)
    add_byte_level_vocabulary(file.writer, VOCAB, "command-r")
    file.embedding(tied=True)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        if block == "blk.0.":
            file.gated_feed_forward(block)
        else:
            file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"cohere2moe": Case("cohere2moe", _cohere2moe, has_experts=True)}
