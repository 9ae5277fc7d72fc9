"""Makes architectures/mistral.json: a sliding window in every layer, computed by transformers.

    python tests/golden/make_mistral_window.py

Needs torch, transformers and llama-cpp-python 0.3.36 besides the packages of the tests. llama.cpp
leaves out the window of files of the architecture "llama". For its error of computing in 8 bits it
gets one token at a time, and what lies before the window is removed from its cache.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
import torch
from make_architectures import make, rounded, write_golden
from transformers import MistralConfig, MistralForCausalLM

from oxillama_web.gguf.reader import GGUFFile

CASE, WINDOW = "mistral", 8
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        golden = make(CASE, Path(folder), windowed_logits)
        gguf = GGUFFile((Path(folder) / "f32.gguf").read_bytes())
    theirs, golden["logits"] = golden["logits"], rounded(logits(gguf, golden["ids"]))
    print(f"llama.cpp is off by {np.abs(np.subtract(theirs, golden['logits'])).max():.1e}")
    write_golden(CASE, golden)


def windowed_logits(model: llama_cpp.Llama, ids: list[int]) -> np.ndarray:
    """llama.cpp's at every position, [tokens, vocabulary]."""
    model.reset()
    for position, token in enumerate(ids):
        # a token sees WINDOW positions, its own among them
        model._ctx.kv_cache_seq_rm(0, 0, max(0, position - WINDOW + 1))
        model.eval([token])
    return np.array(model.scores[: len(ids)], np.float64)


def logits(gguf: GGUFFile, ids: list[int]) -> np.ndarray:
    """At every position, [tokens, vocabulary], computed in float64 from an F32 file."""
    n_layers = gguf.get_int("llama.block_count")
    head_dim = gguf.get_int("llama.attention.key_length")
    weights = {name: tensor(gguf, name) for name in gguf.tensors}
    config = MistralConfig(
        vocab_size=len(weights["token_embd.weight"]),
        hidden_size=gguf.get_int("llama.embedding_length"),
        intermediate_size=gguf.get_int("llama.feed_forward_length"),
        num_hidden_layers=n_layers,
        num_attention_heads=gguf.get_int("llama.attention.head_count"),
        num_key_value_heads=gguf.get_int("llama.attention.head_count_kv"),
        head_dim=head_dim,
        rms_norm_eps=gguf.get_float("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        sliding_window=WINDOW,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    state = {OUTER_NAMES[name]: weights[name] for name in OUTER_NAMES}
    for layer in range(n_layers):
        for ours, theirs in NAMES.items():
            weight = weights[f"blk.{layer}.{ours}.weight"]
            if ours in ("attn_q", "attn_k"):
                weight = pairs_apart(weight, head_dim)
            state[f"model.layers.{layer}.{theirs}.weight"] = weight
    model = MistralForCausalLM(config).double().eval()
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in state.items()})
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def tensor(gguf: GGUFFile, name: str) -> np.ndarray:
    """float64 [outputs, inputs] or [values]."""
    values = np.frombuffer(gguf.tensor_data(name), np.float32)
    return values.reshape(gguf.tensors[name].shape[::-1]).astype(np.float64)


def pairs_apart(weight: np.ndarray, head_dim: int) -> np.ndarray:
    """Undoes the converter's permutation: what rotates together lies half a head apart again."""
    n_out, n_in = weight.shape
    pairs = weight.reshape(n_out // head_dim, head_dim // 2, 2, n_in)
    return pairs.swapaxes(1, 2).reshape(n_out, n_in)


if __name__ == "__main__":
    main()
