"""GLM 4.5."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _glm4moe(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32, rope_dim=16)
    file.expert_sizes(6, 2, 64, n_shared=1)
    file.writer.add_leading_dense_block_count(1)
    file.writer.add_expert_weights_norm(True)
    file.writer.add_expert_weights_scale(1.5)
    add_byte_level_vocabulary(file.writer, VOCAB, "glm4")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, bias=True)
        file.norm(block + "attn_q_norm", file.head_dim)
        file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "post_attention_norm", WIDTH)
        if block == "blk.0.":
            file.gated_feed_forward(block)
        else:
            file.experts(block, selection_bias=True)
    file.norm("output_norm", WIDTH)


CASES = {"glm4moe": Case("glm4moe", _glm4moe, has_experts=True)}
