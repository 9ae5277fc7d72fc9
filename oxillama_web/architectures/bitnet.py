"""BitNet: Llama with NeoX rotary positions, and norms before the last matrix of each part.

Wang et al. 2023, https://arxiv.org/abs/2310.11453. The embedding is the output head.
"""

from .model_builder import ModelBuilder

ARCHITECTURE = "bitnet"


def build(model: ModelBuilder) -> None:
    """Append the operations of a BitNet file."""
    model.embed()
    model.rope_table()
    for layer in model.layers():
        layer.rms_norm("attn_norm")
        layer.qkv()
        layer.rope("neox")
        layer.attention(project=False)
        layer.rms_norm("attn_sub_norm", "attended", "attended")
        layer.linear("attn_output", "attended", "delta")
        layer.add_residual()
        layer.rms_norm("ffn_norm")
        layer.linear("ffn_gate", "h", "gate")
        layer.linear("ffn_up", "h", "up")
        layer.glu("gate", "gate", "up", "silu")
        layer.rms_norm("ffn_sub_norm", "gate", "gate")
        layer.linear("ffn_down", "gate", "delta")
        layer.add_residual()
    model.logits("rms")
