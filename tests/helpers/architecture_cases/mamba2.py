"""Mamba 1 and 2, alone and beside attention."""

import numpy as np
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

INNER, TAPS = 2 * WIDTH, 4


def mamba_sizes(file: TinyFile, *, state: int, steps: int, groups: int = 0) -> None:
    file.n_state, file.n_steps, file.n_groups = state, steps, groups
    file.writer.add_ssm_conv_kernel(TAPS)
    file.writer.add_ssm_inner_size(INNER)
    file.writer.add_ssm_state_size(state)
    file.writer.add_ssm_time_step_rank(steps)
    if groups:
        file.writer.add_ssm_group_count(groups)


def mamba(file: TinyFile, block: str) -> None:
    n_steps, n_state = file.n_steps, file.n_state
    file.linear(block + "ssm_in", WIDTH, 2 * INNER, size=1.5)
    file.vector(block + "ssm_conv1d.weight", 0.6 * file.random(INNER, TAPS))
    file.bias(block + "ssm_conv1d", INNER)
    file.linear(block + "ssm_x", INNER, n_steps + 2 * n_state, size=1.5)
    file.vector(block + "ssm_dt.weight", file.random(INNER, n_steps) / np.sqrt(n_steps))
    file.bias(block + "ssm_dt", INNER)
    file.vector(block + "ssm_a", -0.6 - 0.3 * file.random(INNER, n_state))
    file.vector(block + "ssm_d", file.random(INNER))
    file.linear(block + "ssm_out", INNER, WIDTH)


def mamba2(file: TinyFile, block: str, *, norm: bool = True) -> None:
    n_heads, n_shared = file.n_steps, file.n_groups * file.n_state
    file.linear(block + "ssm_in", WIDTH, 2 * INNER + 2 * n_shared + n_heads, size=1.5)
    file.vector(block + "ssm_conv1d.weight", 0.6 * file.random(INNER + 2 * n_shared, TAPS))
    file.bias(block + "ssm_conv1d", INNER + 2 * n_shared)
    file.bias(block + "ssm_dt", n_heads)
    file.vector(block + "ssm_a", -0.6 - 0.3 * file.random(n_heads, 1))
    file.vector(block + "ssm_d", file.random(n_heads, 1))
    if norm:
        file.norm(block + "ssm_norm", file.n_groups, INNER // file.n_groups)
    file.linear(block + "ssm_out", INNER, WIDTH)


def _alone(file: TinyFile, *, second: bool) -> None:
    file.sizes(3, 0, 0, 0, ffn=0)
    if second:
        mamba_sizes(file, state=16, steps=8, groups=2)
    else:
        mamba_sizes(file, state=8, steps=4)
    add_byte_level_vocabulary(file.writer, VOCAB, "olmo")
    file.embedding(tied=second)
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        (mamba2 if second else mamba)(file, block)
    file.norm("output_norm", WIDTH)


def _falcon_h1(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 16)
    mamba_sizes(file, state=32, steps=4, groups=1)
    add_byte_level_vocabulary(file.writer, VOCAB, "falcon-h1")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        mamba2(file, block, norm=False)
        file.vector(block + "ffn_norm", 1 + 0.2 * file.random(WIDTH))
        file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


def _granitehybrid(file: TinyFile, *, experts: bool) -> None:
    key_heads = [0, 2, 0, 0]
    file.sizes(len(key_heads), 4, key_heads, 16)
    mamba_sizes(file, state=16, steps=8, groups=1)
    file.writer.add_attention_scale(0.2)
    file.writer.add_embedding_scale(12.0)
    file.writer.add_residual_scale(0.6)
    file.writer.add_logit_scale(1.6)
    file.writer.add_bool("granitehybrid.rope.scaling.finetuned", experts)
    if experts:
        file.expert_sizes(4, 2, 96)
        file.writer.add_expert_shared_feed_forward_length(32)
        file.shared_ffn = 32
    add_byte_level_vocabulary(file.writer, VOCAB, "refact")
    file.embedding(scale=12.0, tied=True)
    for layer, block in enumerate(file.blocks()):
        file.norm(block + "attn_norm", WIDTH)
        if key_heads[layer]:
            file.n_kv = key_heads[layer] * file.head_dim
            file.attention(block)
        else:
            mamba2(file, block)
        file.norm(block + "ffn_norm", WIDTH)
        if experts:
            file.experts(block)
        else:
            file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


def _nemotron_h(file: TinyFile) -> None:
    key_heads, ffn = [0, 0, 2, 0], [0, 96, 0, 0]
    file.sizes(len(key_heads), 4, key_heads, 16, ffn=ffn)
    file.writer.add_layer_norm_eps(1e-5)  # of layers that guess tokens ahead
    mamba_sizes(file, state=16, steps=8, groups=2)
    add_byte_level_vocabulary(file.writer, VOCAB, "olmo")
    file.embedding()
    for layer, block in enumerate(file.blocks()):
        file.norm(block + "attn_norm", WIDTH)
        if ffn[layer]:
            file.feed_forward(block, bias=False)
        elif key_heads[layer]:
            file.n_kv = key_heads[layer] * file.head_dim
            file.attention(block)
        else:
            mamba2(file, block)
    file.norm("output_norm", WIDTH)


def _jamba(file: TinyFile) -> None:
    key_heads = [0, 2, 0]
    file.sizes(len(key_heads), 4, key_heads, 16, ffn=32)
    mamba_sizes(file, state=8, steps=4)
    file.expert_sizes(4, 2, 32)
    add_byte_level_vocabulary(file.writer, VOCAB, "olmo")
    file.embedding()
    for layer, block in enumerate(file.blocks()):
        file.norm(block + "attn_norm", WIDTH)
        if key_heads[layer]:
            file.n_kv = key_heads[layer] * file.head_dim
            file.attention(block)
        else:
            mamba(file, block)
            for name, n in (("dt", file.n_steps), ("b", file.n_state), ("c", file.n_state)):
                file.norm(f"{block}ssm_{name}_norm", n)
        file.norm(block + "ffn_norm", WIDTH)
        if layer % 2:
            file.experts(block)
        else:
            file.linear(block + "ffn_gate", WIDTH, 32, size=1.5)
            file.linear(block + "ffn_up", WIDTH, 32, size=1.5)
            file.linear(block + "ffn_down", 32, WIDTH)
    file.norm("output_norm", WIDTH)


def _plamo2(file: TinyFile) -> None:
    key_heads, n_heads, n_state, n_low = [0, 2, 0], 4, 16, 64
    file.sizes(len(key_heads), 4, key_heads, 16)
    mamba_sizes(file, state=n_state, steps=n_heads)
    file.writer.add_ssm_group_count(0)
    add_byte_level_vocabulary(file.writer, VOCAB, "olmo")
    file.embedding()
    for layer, block in enumerate(file.blocks()):
        file.norm(block + "attn_norm", WIDTH)
        if key_heads[layer]:
            file.n_kv = key_heads[layer] * file.head_dim
            file.attention(block, merged=True)
            file.norm(block + "attn_q_norm", 4, 16)
            file.norm(block + "attn_k_norm", key_heads[layer], 16)
        else:
            file.linear(block + "ssm_in", WIDTH, 2 * INNER, size=1.5)
            file.vector(block + "ssm_conv1d.weight", 0.6 * file.random(INNER, TAPS))
            file.linear(block + "ssm_x", INNER, n_low + 2 * n_state)
            file.vector(block + "ssm_dt.weight", file.random(n_heads, n_low) / 8)
            file.bias(block + "ssm_dt", n_heads)
            file.vector(block + "ssm_a", -0.6 - 0.3 * file.random(n_heads))
            file.vector(block + "ssm_d", file.random(n_heads))
            file.linear(block + "ssm_out", INNER, WIDTH)
            for name, n in (("dt", n_low), ("b", n_state), ("c", n_state)):
                file.vector(f"{block}ssm_{name}_norm", 1 + 0.2 * file.random(n))
        file.vector(block + "post_attention_norm", 1 + 0.2 * file.random(WIDTH))
        file.norm(block + "ffn_norm", WIDTH)
        file.gated_feed_forward(block, merged=True)
        file.vector(block + "post_ffw_norm", 1 + 0.2 * file.random(WIDTH))
    file.norm("output_norm", WIDTH)


CASES = {
    "mamba": Case("mamba", lambda file: _alone(file, second=False)),
    "mamba2": Case("mamba2", lambda file: _alone(file, second=True)),
    "falcon-h1": Case("falcon-h1", _falcon_h1),
    "granitehybrid": Case("granitehybrid", lambda file: _granitehybrid(file, experts=False)),
    "granitehybrid-moe": Case(
        "granitehybrid",
        lambda file: _granitehybrid(file, experts=True),
        family="granitehybrid: experts",
        has_experts=True,
    ),
    "nemotron_h": Case("nemotron_h", _nemotron_h),
    "jamba": Case("jamba", _jamba, has_experts=True),
    "plamo2": Case("plamo2", _plamo2),
}
