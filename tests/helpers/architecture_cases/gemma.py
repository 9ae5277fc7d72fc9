"""Gemma."""

import numpy as np
from gguf_vocabularies import add_sentencepiece_vocabulary
from tiny_file import VOCAB, WIDTH, Case, TinyFile, llama_like


def _gemma(file: TinyFile) -> None:
    file.sizes(3, 2, 1, 64)
    add_sentencepiece_vocabulary(file.writer, VOCAB)
    llama_like(file, tied=True, embedding_scale=np.sqrt(WIDTH))


CASES = {"gemma": Case("gemma", _gemma)}
