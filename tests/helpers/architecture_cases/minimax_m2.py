"""MiniMax M2."""

from gguf import ExpertGatingFuncType
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _minimax_m2(file: TinyFile) -> None:
    file.sizes(3, 4, 2, 32, rope_dim=16)
    file.expert_sizes(6, 2, FFN)
    file.writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    add_byte_level_vocabulary(file.writer, VOCAB, "minimax-m2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "attn_q_norm", file.n_q)
        file.norm(block + "attn_k_norm", file.n_kv)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block, selection_bias=True)
    file.norm("output_norm", WIDTH)


CASES = {"minimax-m2": Case("minimax-m2", _minimax_m2, has_experts=True)}
