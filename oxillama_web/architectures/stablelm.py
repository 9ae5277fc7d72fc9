"""StableLM: Llama with LayerNorm, and only a part of each head rotates.

Bellagente et al. 2024, https://arxiv.org/abs/2402.17834. The 12B model normalizes each head of Q
and K, and has attention and feed-forward side by side.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "stablelm"


def build(model: ModelBuilder) -> None:
    """Append the operations of a StableLM file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.qk_norms("layer", optional=True)
        layer.rope("neox")
        layer.attention()
        layer.add_residual()
        if layer.has("ffn_norm.weight"):
            layer.layer_norm("ffn_norm")
        layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("layer")
