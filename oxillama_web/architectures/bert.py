"""BERT: an encoder, whose tokens see their whole text, and which gives no logits.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805: learned positions, GELU, a LayerNorm after
every residual sum.
"""

from ..plan.operations.elementwise import AddBias
from .model_builder import ModelBuilder

ARCHITECTURE = "bert"

TOKEN_TYPES = "token_types.weight"


def build(model: ModelBuilder) -> None:
    """Append the operations of a BERT file."""
    model.embed()
    add_token_type(model)
    model.learned_positions()
    model.layer_norm("token_embd_norm", "x", "x")
    for layer in model.layers():
        layer.qkv("x")
        layer.attention(causal=False)
        layer.add_residual()
        layer.layer_norm("attn_output_norm", "x", "x")
        layer.feed_forward("gelu", "x")
        layer.add_residual()
        layer.layer_norm("layer_output_norm", "x", "x")
    model.hidden_states()


def add_token_type(model: ModelBuilder) -> None:
    """Add the embedding of the first token type to all tokens: there is one text, not a pair."""
    if not model.has(TOKEN_TYPES):
        return
    n_types = model.hparams.gguf.tensors[TOKEN_TYPES].shape[-1]
    model.plan.split_rows(TOKEN_TYPES, {f"token_types.{n}.weight": 1 for n in range(n_types)})
    AddBias.append(model.plan, "x", "x", "token_types.0.weight")
