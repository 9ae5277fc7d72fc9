"""Phi 3."""

import numpy as np
from gguf_vocabularies import add_sentencepiece_vocabulary
from tiny_file import VOCAB, Case, TinyFile, llama_like


def _phi3(file: TinyFile) -> None:
    """Trained for 256 positions: the frequency factors depend on whether more are asked for."""
    file.sizes(3, 4, 2, 16, rope_dim=12, context_length=1024)
    file.writer.add_rope_scaling_orig_ctx_len(256)
    file.writer.add_rope_scaling_attn_factors(1.2)
    file.writer.add_sliding_window(8)  # which is to be left out
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    file.vector("rope_factors_short.weight", np.linspace(1.0, 1.5, 6))
    file.vector("rope_factors_long.weight", np.linspace(1.0, 16.0, 6))
    llama_like(file, merged=True)


CASES = {
    "phi3": Case("phi3", _phi3, context_size=256),
    "phi3-long": Case("phi3", _phi3, context_size=512),
}
