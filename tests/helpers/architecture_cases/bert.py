"""BERT, and what fills the files of the encoders that differ from it in little."""

from gguf_files import write_tiny_bert
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import CONTEXT, FFN, VOCAB, WIDTH, OtherCase, TinyFile


def fill_bert(
    file: TinyFile,
    *,
    n_layers: int = 3,
    n_heads: int = 4,
    positions: bool = False,
    merged: bool = False,
    qk_norm: bool = False,
    second_norm: bool = False,
    gate: str = "",
    expert_period: int = 0,
) -> None:
    """`gate`: of the feed-forward, a matrix of its "own", or "merged" with another."""
    file.sizes(n_layers, n_heads, n_heads, WIDTH // n_heads, layer_norm=True)
    file.writer.add_causal_attention(False)
    file.writer.add_token_type_count(2)
    add_byte_level_vocabulary(file.writer, VOCAB, "llama-bpe")
    file.embedding(tied=True)
    file.vector("token_types.weight", 0.5 * file.random(2, WIDTH))
    if positions:
        file.vector("position_embd.weight", 0.5 * file.random(CONTEXT, WIDTH))
    file.norm("token_embd_norm", WIDTH, bias=True)
    for layer, block in enumerate(file.blocks()):
        file.attention(block, bias=True, output_bias=True, merged=merged)
        if qk_norm:
            file.norm(block + "attn_q_norm", WIDTH, bias=True)
            file.norm(block + "attn_k_norm", WIDTH, bias=True)
        file.norm(block + "attn_output_norm", WIDTH, bias=True)
        if second_norm:
            file.norm(block + "attn_norm_2", WIDTH, bias=True)
        if expert_period and layer % expert_period == 1:
            file.experts(block, gated=False)
        elif gate == "own":
            file.linear(block + "ffn_gate", WIDTH, FFN, size=1.5)
            file.feed_forward(block)
        elif gate == "merged":
            file.linear(block + "ffn_up", WIDTH, 2 * FFN, size=1.5)
            file.linear(block + "ffn_down", FFN, WIDTH, bias=True)
        else:
            file.feed_forward(block)
        file.norm(block + "layer_output_norm", WIDTH, bias=True)


CASES = {"bert": OtherCase("bert", write_tiny_bert, {"arch": "bert"})}
