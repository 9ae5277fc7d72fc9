"""CogVLM, the text part: Llama with NeoX rotary positions, always of base 10000.

Wang et al. 2023, https://arxiv.org/abs/2311.03079. The matrices for images are left out.
"""

from .model_builder import ModelBuilder
from .rope import unscaled_rope

ARCHITECTURE = "cogvlm"

ROPE_BASE = 10000.0


def build(model: ModelBuilder) -> None:
    """Append the operations of a CogVLM file."""
    model.embed()
    model.rope_table(rope=unscaled_rope(model.config.rope_dim, ROPE_BASE))
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
