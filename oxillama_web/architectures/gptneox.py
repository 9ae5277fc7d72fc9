"""GPT-NeoX and Pythia: LayerNorm, GELU, attention and feed-forward side by side with a norm each.

Black et al. 2022, https://arxiv.org/abs/2204.06745. Some models have them one after the other.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "gptneox"


def build(model: ModelBuilder) -> None:
    """Append the operations of a GPT-NeoX file."""
    is_parallel = model.hparams.get_bool("use_parallel_residual")
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.layer_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        if is_parallel:
            layer.layer_norm("ffn_norm", dst="h2")
        layer.attention()
        layer.add_residual()
        if not is_parallel:
            layer.layer_norm("ffn_norm", dst="h2")
        layer.feed_forward("gelu", "h2")
        layer.add_residual()
    model.logits("layer")
