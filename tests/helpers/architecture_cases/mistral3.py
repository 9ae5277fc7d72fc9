"""Mistral 3."""

from gguf import RopeScalingType
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, Case, TinyFile, llama_like


def _mistral3(file: TinyFile) -> None:
    """YaRN that leaves the attention factor alone, with its own bounds, and a temperature."""
    file.sizes(3, 4, 2, 32, rope_dim=32)
    writer = file.writer
    writer.add_rope_scaling_type(RopeScalingType.YARN)
    writer.add_rope_scaling_factor(16.0)
    writer.add_rope_scaling_orig_ctx_len(16)
    writer.add_float32("mistral3.rope.scaling.yarn_beta_fast", 4.0)
    writer.add_float32("mistral3.rope.scaling.yarn_beta_slow", 0.5)
    writer.add_float32("mistral3.rope.scaling.yarn_log_multiplier", 1.0)
    writer.add_float32("mistral3.attention.temperature_scale", 0.4)
    add_byte_level_vocabulary(writer, VOCAB)
    llama_like(file)


CASES = {"mistral3": Case("mistral3", _mistral3)}
