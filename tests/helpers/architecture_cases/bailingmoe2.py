"""Ling 2."""

from gguf import ExpertGatingFuncType
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _bailingmoe2(file: TinyFile) -> None:
    file.sizes(4, 4, 2, 16, rope_dim=8)
    file.expert_sizes(8, 3, 64, n_shared=1)
    file.writer.add_leading_dense_block_count(1)
    file.writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    file.writer.add_expert_group_count(4)
    file.writer.add_expert_group_used_count(2)
    file.writer.add_expert_weights_norm(True)
    file.writer.add_expert_weights_scale(2.5)
    add_byte_level_vocabulary(file.writer, VOCAB, "bailingmoe2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, merged=True)
        file.norm(block + "attn_q_norm", file.head_dim)
        file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "ffn_norm", WIDTH)
        if block == "blk.0.":
            file.gated_feed_forward(block)
        else:
            file.experts(block, selection_bias=True)
    file.norm("output_norm", WIDTH)


CASES = {"bailingmoe2": Case("bailingmoe2", _bailingmoe2, has_experts=True)}
