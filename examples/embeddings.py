"""Texts as vectors: which sentences are closest to a question."""

from __future__ import annotations

import sys

from oxillama_web import EngineConfig, InferenceEngine
from oxillama_web.hub.models import fetch

QUESTION = "Where do penguins live?"
SENTENCES = [
    "The stock market fell sharply on Monday.",
    "Penguins are found in Antarctica and on southern coasts.",
    "Mix the flour with two eggs and a little milk.",
]


def main(n_closest: int = 3) -> None:
    path = fetch("smollm2-135m-instruct")
    engine = InferenceEngine(EngineConfig(model_path=str(path)))
    engine.load_model()
    # one forward pass for all; an encoder such as all-MiniLM-L6-v2 does this better than a decoder
    question, *vectors = engine.embed_batch([QUESTION, *SENTENCES], pooling="mean")
    cosines = [sum(a * b for a, b in zip(question, vector, strict=True)) for vector in vectors]
    for cosine, sentence in sorted(zip(cosines, SENTENCES, strict=True), reverse=True)[:n_closest]:
        print(f"{cosine:.3f}  {sentence}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
