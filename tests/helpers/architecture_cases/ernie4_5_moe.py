"""ERNIE 4.5 as a mixture of experts."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _ernie4_5_moe(file: TinyFile) -> None:
    file.sizes(4, 4, 2, 16)
    file.expert_sizes(6, 2, FFN, n_shared=1)
    file.writer.add_expert_shared_feed_forward_length(FFN)
    file.writer.add_interleave_moe_layer_step(1)
    file.writer.add_leading_dense_block_count(1)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH)
        if block != "blk.0.":
            file.experts(block, selection_bias=True)
        else:
            file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


CASES = {"ernie4_5-moe": Case("ernie4_5-moe", _ernie4_5_moe, has_experts=True)}
