"""Nanbeige 4: Llama; some models pass through all their layers several times.

Nanbeige LLM Lab 2025, https://arxiv.org/abs/2512.06266.
"""

from ..errors import ModelFormatError
from .model_builder import ModelBuilder

ARCHITECTURE = "nanbeige"

MAX_LOOPS = 64


def build(model: ModelBuilder) -> None:
    """Append the operations of a Nanbeige file."""
    hparams = model.hparams
    n_loops = hparams.get_positive("num_loops", 1)
    if n_loops > MAX_LOOPS:
        raise ModelFormatError(f"nanbeige.num_loops is {n_loops}; it must be at most {MAX_LOOPS}")
    has_norms_between = not hparams.get_bool("skip_loop_final_norm", False)
    model.embed()
    model.rope_table()
    for loop in range(n_loops):
        if loop and has_norms_between:
            model.rms_norm("output_norm", dst="x")
        for layer in model.layers():
            layer.rms_norm("attn_norm")
            layer.qkv()
            layer.rope("interleaved")
            layer.attention(scale=hparams.get_float("attention.scale", 0.0) or None)
            layer.add_residual()
            layer.rms_norm("ffn_norm")
            layer.gated_feed_forward("silu")
            layer.add_residual()
    model.logits("rms")
