"""Qwen 3.5, without and with experts, and Qwen 3 Next."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile

STATE, KEY_HEADS, HEADS, TAPS = 16, 2, 4, 4


def delta_net(file: TinyFile, block: str, *, merged: bool) -> None:
    n_keys, n_values = KEY_HEADS * STATE, HEADS * STATE
    file.linear(block + "attn_qkv", WIDTH, 2 * n_keys + n_values, size=1.5)
    file.linear(block + "attn_gate", WIDTH, n_values, size=1.5)
    file.vector(block + "ssm_conv1d.weight", 0.7 * file.random(2 * n_keys + n_values, TAPS))
    file.vector(block + "ssm_dt.bias", file.random(HEADS))
    file.vector(block + "ssm_a", -0.3 - 0.1 * file.random(HEADS))
    if merged:
        file.linear(block + "ssm_ba", WIDTH, 2 * HEADS)
    else:
        file.linear(block + "ssm_beta", WIDTH, HEADS)
        file.linear(block + "ssm_alpha", WIDTH, HEADS)
    file.norm(block + "ssm_norm", STATE)
    file.linear(block + "ssm_out", n_values, WIDTH)


def qwen3next_like(file: TinyFile, *, n_layers: int = 5, merged: bool, experts: bool) -> None:
    file.sizes(n_layers, 4, 2, 16, rope_dim=8)
    writer = file.writer
    writer.add_ssm_conv_kernel(TAPS)
    writer.add_ssm_inner_size(HEADS * STATE)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(HEADS)
    writer.add_ssm_group_count(KEY_HEADS)
    writer.add_uint32(f"{file.arch}.full_attention_interval", 4)
    if not merged:
        writer.add_rope_dimension_sections([2, 1, 1, 0])
    if experts:
        file.expert_sizes(4, 2, 32, 1)
        writer.add_expert_shared_feed_forward_length(32)
    add_byte_level_vocabulary(writer, VOCAB, "qwen2")
    file.embedding()
    for layer, block in enumerate(file.blocks()):
        file.norm(block + "attn_norm", WIDTH)
        if (layer + 1) % 4:
            delta_net(file, block, merged=merged)
        else:
            file.linear(block + "attn_q", WIDTH, 2 * file.n_q, size=1.5)
            file.linear(block + "attn_k", WIDTH, file.n_kv, size=1.5)
            file.linear(block + "attn_v", WIDTH, file.n_kv, size=1.5)
            file.linear(block + "attn_output", file.n_q, WIDTH)
            file.norm(block + "attn_q_norm", file.head_dim)
            file.norm(block + "attn_k_norm", file.head_dim)
        file.norm(block + "post_attention_norm", WIDTH)
        if experts:
            file.experts(block)
            file.vector(block + "ffn_gate_inp_shexp.weight", file.random(WIDTH) / 8)
        else:
            file.gated_feed_forward(block)
    file.norm("output_norm", WIDTH)


CASES = {
    "qwen35": Case("qwen35", lambda file: qwen3next_like(file, merged=False, experts=False)),
    "qwen35moe": Case(
        "qwen35moe",
        lambda file: qwen3next_like(file, merged=False, experts=True),
        has_experts=True,
    ),
    "qwen3next": Case(
        "qwen3next",
        lambda file: qwen3next_like(file, n_layers=4, merged=True, experts=True),
        has_experts=True,
    ),
}
