"""Llama: RMSNorm, interleaved rotary positions, grouped-query attention, SwiGLU.

Touvron et al. 2023, https://arxiv.org/abs/2307.09288. Mistral's files are of this architecture too,
with a sliding window where they state one (Jiang et al. 2023, https://arxiv.org/abs/2310.06825),
and Mixtral's, with experts. The GGUF converter permutes Q and K so that the values of a pair are
side by side.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "llama"


def build(model: ModelBuilder) -> None:
    """Append the operations of a Llama, Mistral or Mixtral file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("interleaved")
        layer.attention(window=layer.config.sliding_window)
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        if model.n_experts_used:
            layer.mixture_of_experts("softmax_of_used")
        else:
            layer.gated_feed_forward("silu")
        layer.add_residual()
    model.logits("rms")
