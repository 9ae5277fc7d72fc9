"""DeepSeek."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _deepseek(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    file.expert_sizes(6, 2, 64, n_shared=2)
    file.writer.add_leading_dense_block_count(1)
    file.writer.add_expert_weights_scale(1.5)
    add_byte_level_vocabulary(file.writer, VOCAB, "deepseek-llm")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH)
        if block == "blk.0.":
            file.gated_feed_forward(block)
        else:
            file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"deepseek": Case("deepseek", _deepseek, has_experts=True)}
