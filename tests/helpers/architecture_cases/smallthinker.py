"""SmallThinker."""

from gguf import ExpertGatingFuncType
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile


def _smallthinker(file: TinyFile) -> None:
    file.sizes(5, 4, 2, 16, rope_dim=16)
    file.expert_sizes(8, 4, 64)
    file.writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)
    file.writer.add_sliding_window(4096)  # llama.cpp takes no other
    add_byte_level_vocabulary(file.writer, VOCAB, "qwen2")
    file.embedding()
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH)
        file.attention(block)
        file.norm(block + "ffn_norm", WIDTH)
        file.experts(block)
    file.norm("output_norm", WIDTH)


CASES = {"smallthinker": Case("smallthinker", _smallthinker, has_experts=True)}
