"""MPT, also with learned positions."""

import numpy as np
from gguf_vocabularies import add_byte_level_vocabulary
from tiny_file import CONTEXT, VOCAB, WIDTH, Case, TinyFile


def _mpt(file: TinyFile, *, has_alibi: bool = True) -> None:
    file.sizes(3, 4, 4, 16, layer_norm=True)
    if has_alibi:
        file.writer.add_clamp_kqv(1.5)
        file.writer.add_max_alibi_bias(8.0)
    add_byte_level_vocabulary(file.writer, VOCAB, "mpt")
    file.embedding(tied=has_alibi)
    if not has_alibi:
        file.matrix("position_embd.weight", WIDTH, CONTEXT, np.sqrt(WIDTH))
    for block in file.blocks():
        file.norm(block + "attn_norm", WIDTH, bias=not has_alibi)
        file.attention(block, merged=True, bias=not has_alibi)
        file.norm(block + "ffn_norm", WIDTH, bias=not has_alibi)
        file.feed_forward(block, bias=not has_alibi)
    file.norm("output_norm", WIDTH, bias=not has_alibi)


def _mpt_with_positions(file: TinyFile) -> None:
    _mpt(file, has_alibi=False)


CASES = {"mpt": Case("mpt", _mpt), "mpt-positions": Case("mpt", _mpt_with_positions)}
