"""Gemma 4, dense with embeddings per layer and shared keys and values, and with experts."""

import numpy as np
from gguf_vocabularies import add_sentencepiece_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile

N_HEADS, GLOBAL_HEAD, LOCAL_HEAD, PER_LAYER = 4, 32, 16, 32


def _sizes(
    file: TinyFile, has_window: list[bool], n_kv_heads: list[int], ffn: list[int], per_layer: int
) -> None:
    file.sizes(len(has_window), N_HEADS, 1, GLOBAL_HEAD)
    writer = file.writer
    writer.kv_data[0].pop("gemma4.attention.head_count_kv")
    writer.kv_data[0].pop("gemma4.feed_forward_length")
    writer.add_head_count_kv(n_kv_heads)
    writer.add_feed_forward_length(ffn)
    writer.add_sliding_window(8)
    writer.add_array("gemma4.attention.sliding_window_pattern", has_window)
    writer.add_key_length_swa(LOCAL_HEAD)
    writer.add_value_length_swa(LOCAL_HEAD)
    writer.add_rope_dimension_count(GLOBAL_HEAD)
    writer.add_rope_dimension_count_swa(LOCAL_HEAD)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_freq_base_swa(1e4)
    writer.add_embedding_length_per_layer_input(per_layer)
    writer.add_final_logit_softcapping(3.0)
    add_sentencepiece_vocabulary(writer, VOCAB)
    file.embedding(tied=True, scale=np.sqrt(WIDTH))
    # as in published files: only the first quarter of the pairs rotates
    factors = np.where(np.arange(GLOBAL_HEAD // 2) < GLOBAL_HEAD // 8, 1.0, 1e30)
    file.vector("rope_freqs.weight", factors)


def _attention(
    file: TinyFile, block: str, head: int, n_kv: int, *, keys: bool, values: bool
) -> None:
    file.norm(block + "attn_norm", WIDTH)
    file.linear(block + "attn_q", WIDTH, N_HEADS * head)
    # scores are not scaled otherwise; large ones would make much of llama.cpp's table of GELU
    file.vector(block + "attn_q_norm.weight", 0.3 * (1 + 0.2 * file.random(head)))
    if keys:
        file.linear(block + "attn_k", WIDTH, n_kv * head)
        file.norm(block + "attn_k_norm", head)
    if values:
        file.linear(block + "attn_v", WIDTH, n_kv * head)
    file.linear(block + "attn_output", N_HEADS * head, WIDTH)
    file.norm(block + "post_attention_norm", WIDTH)


def _feed_forward(file: TinyFile, block: str, ffn: int) -> None:
    file.norm(block + "ffn_norm", WIDTH)
    file.linear(block + "ffn_gate", WIDTH, ffn, size=1.5)
    file.linear(block + "ffn_up", WIDTH, ffn, size=1.5)
    file.linear(block + "ffn_down", ffn, WIDTH)
    file.norm(block + "post_ffw_norm", WIDTH)


def _gemma4(file: TinyFile) -> None:
    """The last two layers share keys and values, and have larger feed-forward networks."""
    has_window = [True, True, True, False, True, False]
    n_kv_heads, ffn = [2, 2, 2, 1, 2, 1], [FFN] * 4 + [2 * FFN] * 2
    _sizes(file, has_window, n_kv_heads, ffn, PER_LAYER)
    file.writer.add_shared_kv_layers(2)
    file.matrix("per_layer_token_embd.weight", 6 * PER_LAYER, VOCAB, np.sqrt(6.0))
    file.linear("per_layer_model_proj", WIDTH, 6 * PER_LAYER, size=8.0)
    file.norm("per_layer_proj_norm", PER_LAYER)
    for layer, block in enumerate(file.blocks()):
        head = LOCAL_HEAD if has_window[layer] else GLOBAL_HEAD
        _attention(file, block, head, n_kv_heads[layer], keys=layer < 4, values=layer < 4)
        _feed_forward(file, block, ffn[layer])
        file.linear(block + "inp_gate", WIDTH, PER_LAYER)
        file.linear(block + "proj", PER_LAYER, WIDTH)
        file.norm(block + "post_norm", WIDTH)
        file.vector(block + "layer_output_scale.weight", np.array([0.7 + 0.1 * layer]))
    file.norm("output_norm", WIDTH)


def _gemma4_experts(file: TinyFile) -> None:
    """Values of the layers that see everything are their keys."""
    has_window, n_kv_heads = [True, True, False, True], [2, 2, 1, 2]
    _sizes(file, has_window, n_kv_heads, [FFN] * 4, 0)
    file.expert_sizes(8, 4, 64)
    for layer, block in enumerate(file.blocks()):
        head = LOCAL_HEAD if has_window[layer] else GLOBAL_HEAD
        _attention(file, block, head, n_kv_heads[layer], keys=True, values=has_window[layer])
        _feed_forward(file, block, FFN)
        file.vector(block + "ffn_gate_inp.scale", 1 + 0.2 * file.random(WIDTH))
        file.vector(block + "ffn_gate_inp.weight", 2 * file.random(8, WIDTH))
        file.matrix(block + "ffn_gate_up_exps.weight", WIDTH, 128, 1.5, n_experts=8)
        file.matrix(block + "ffn_down_exps.weight", 64, WIDTH, n_experts=8)
        file.vector(block + "ffn_down_exps.scale", 1 + 0.2 * file.random(8))
        for name in ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"):
            file.norm(block + name, WIDTH)
    file.norm("output_norm", WIDTH)


CASES = {
    "gemma4": Case("gemma4", _gemma4),
    "gemma4-a4b": Case("gemma4", _gemma4_experts, has_experts=True),
}
