"""PLaMo: attention and feed-forward side by side.

Preferred Networks 2023, https://huggingface.co/pfnet/plamo-13b. The GGUF converter orders the heads
so that they are grouped.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "plamo"


def build(model: ModelBuilder) -> None:
    """Append the operations of a PLaMo file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
