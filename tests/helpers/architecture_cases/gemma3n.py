"""Gemma 3n, with as many layers as it takes until some share keys and values."""

import numpy as np
from gguf_vocabularies import add_sentencepiece_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

# llama.cpp knows no other sizes than these
N_LAYERS, N_STREAMS, RANK, PER_LAYER = 22, 4, 64, 256


def _gemma3n(file: TinyFile) -> None:
    file.sizes(N_LAYERS, 4, 1, 16, rope_dim=16)
    writer = file.writer
    writer.add_sliding_window(8)
    writer.add_rope_freq_base(1e6)
    writer.add_final_logit_softcapping(30.0)
    writer.add_altup_active_idx(0)
    writer.add_altup_num_inputs(N_STREAMS)
    writer.add_embedding_length_per_layer_input(PER_LAYER)
    writer.add_shared_kv_layers(2)
    add_sentencepiece_vocabulary(writer, VOCAB)
    file.embedding(tied=True, scale=np.sqrt(WIDTH))
    file.matrix("altup_proj.weight", WIDTH, WIDTH, n_experts=N_STREAMS - 1)
    file.matrix("altup_unembd_proj.weight", WIDTH, WIDTH, n_experts=N_STREAMS - 1)
    file.matrix("per_layer_token_embd.weight", N_LAYERS * PER_LAYER, VOCAB, np.sqrt(N_LAYERS))
    file.linear("per_layer_model_proj", WIDTH, N_LAYERS * PER_LAYER, size=8.0)
    file.norm("per_layer_proj_norm", PER_LAYER)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        # llama.cpp looks GELU up in a table, whose errors would grow from layer to layer if scores
        # and what follows a GELU were large
        small_norms = {"attn_q_norm": file.head_dim, "post_ffw_norm": WIDTH, "post_norm": WIDTH}
        for name, size in small_norms.items():
            file.vector(f"{block}{name}.weight", 0.15 * (1 + 0.2 * file.random(size)))
        file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "post_attention_norm", WIDTH)
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block)
        file.linear(block + "inp_gate", WIDTH, PER_LAYER)
        file.linear(block + "proj", PER_LAYER, WIDTH)
        file.linear(block + "laurel_l", WIDTH, RANK)
        file.linear(block + "laurel_r", RANK, WIDTH)
        file.norm(block + "laurel_post_norm", WIDTH)
        file.vector(block + "altup_correct_scale.weight", 1 + 0.2 * file.random(WIDTH))
        file.norm(block + "altup_router_norm", WIDTH)
        file.vector(block + "altup_router.weight", 4 * file.random(N_STREAMS, WIDTH))
        coefficients = 0.1 * file.random(N_STREAMS, N_STREAMS)
        file.vector(block + "altup_correct_coef.weight", coefficients)
        coefficients = 0.1 * file.random(N_STREAMS**2, N_STREAMS)
        file.vector(block + "altup_predict_coef.weight", coefficients)
    file.norm("output_norm", WIDTH)


CASES = {"gemma3n": Case("gemma3n", _gemma3n, n_texts=1)}
