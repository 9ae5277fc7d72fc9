"""Gemma 3."""

from gguf import RopeScalingType
from tiny_file import Case, TinyFile

from .gemma2 import fill_gemma_with_post_norms


def _gemma3(file: TinyFile) -> None:
    file.sizes(7, 4, 1, 32)
    file.writer.add_sliding_window(8)
    file.writer.add_rope_freq_base(1e6)
    file.writer.add_rope_scaling_type(RopeScalingType.LINEAR)
    file.writer.add_rope_scaling_factor(8.0)
    fill_gemma_with_post_norms(file, qk_norm=True)


CASES = {"gemma3": Case("gemma3", _gemma3)}
