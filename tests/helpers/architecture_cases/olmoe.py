"""OLMoE."""

from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import FFN, VOCAB, WIDTH, Case, TinyFile


def _olmoe(file: TinyFile) -> None:
    file.sizes(3, 4, 4, 16)
    file.expert_sizes(6, 2, FFN)
    add_byte_level_vocabulary(file.writer, VOCAB, "dbrx")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "attn_q_norm", file.n_q)
        file.norm(block + "attn_k_norm", file.n_kv)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"olmoe": Case("olmoe", _olmoe, has_experts=True)}
