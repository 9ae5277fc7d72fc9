"""OLMo 2 and 3."""

from gguf import RopeScalingType
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _olmo2(file: TinyFile, *, windows: bool = False) -> None:
    file.sizes(5 if windows else 3, 4, 2, 16)
    if windows:
        file.writer.add_sliding_window(8)
        file.writer.add_rope_scaling_type(RopeScalingType.YARN)
        file.writer.add_rope_scaling_factor(8.0)
        file.writer.add_rope_scaling_attn_factors(1.2)
        file.writer.add_rope_scaling_orig_ctx_len(64)
    add_byte_level_vocabulary(file.writer, VOCAB, "olmo")
    file.embedding()
    for block in file.blocks():
        file.attention(block)
        file.norm(block + "attn_q_norm", file.n_q)
        file.norm(block + "attn_k_norm", file.n_kv)
        file.norm(block + "post_attention_norm", WIDTH)
        file.gated_feed_forward(block)
        file.norm(block + "post_ffw_norm", WIDTH)
    file.norm("output_norm", WIDTH)


def _olmo3(file: TinyFile) -> None:
    _olmo2(file, windows=True)


CASES = {
    "olmo2": Case("olmo2", _olmo2),
    "olmo3": Case("olmo2", _olmo3),
}
