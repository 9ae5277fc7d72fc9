"""Documents in the order in which they answer a question. Needs the file of a reranker."""

from __future__ import annotations

import sys

from oxillama_web import InferenceEngine

QUESTION = "Where do penguins live?"
DOCUMENTS = [
    "The stock market fell sharply on Monday.",
    "Penguins are found in Antarctica and on southern coasts.",
    "Penguins are birds that cannot fly.",
]


def main(path: str) -> None:
    with InferenceEngine(path) as engine:
        for best in engine.rerank(QUESTION, DOCUMENTS):
            print(f"{best.relevance_score:.3f}  {DOCUMENTS[best.index]}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/rerank.py RERANKER.gguf")
    main(sys.argv[1])
