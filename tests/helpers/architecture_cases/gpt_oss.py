"""gpt-oss."""

from gguf import RopeScalingType
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _gpt_oss(file: TinyFile) -> None:
    file.sizes(4, 4, 2, 32)
    file.expert_sizes(8, 4, 64)
    file.writer.add_sliding_window(8)
    file.writer.add_rope_freq_base(150000.0)
    file.writer.add_rope_scaling_type(RopeScalingType.YARN)
    file.writer.add_rope_scaling_factor(8.0)
    file.writer.add_rope_scaling_orig_ctx_len(64)
    add_byte_level_vocabulary(file.writer, VOCAB, "gpt-4o")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block, bias=True, output_bias=True)
        file.vector(block + "attn_sinks.weight", 1 + file.random(file.n_heads))
        file.norm(block + "post_attention_norm", WIDTH)
        file.experts(block, bias=True)
    file.norm("output_norm", WIDTH)


CASES = {"gpt-oss": Case("gpt-oss", _gpt_oss, has_experts=True)}
