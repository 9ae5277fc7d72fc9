"""GPT-2."""

import numpy as np
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import CONTEXT, VOCAB, WIDTH, Case, TinyFile


def fill_gpt2(file: TinyFile, n_kv_heads: int = 4) -> None:
    file.sizes(3, 4, n_kv_heads, 16, layer_norm=True)
    add_byte_level_vocabulary(file.writer, VOCAB, "starcoder" if n_kv_heads == 1 else "gpt-2")
    file.embedding(tied=True)
    file.matrix("position_embd.weight", WIDTH, CONTEXT, np.sqrt(WIDTH))
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=True)
        file.attention(block, bias=True, output_bias=True, merged=True)
        file.norm(block + "ffn_norm", WIDTH, bias=True)
        file.feed_forward(block)
    file.norm("output_norm", WIDTH, bias=True)


CASES = {"gpt2": Case("gpt2", fill_gpt2)}
