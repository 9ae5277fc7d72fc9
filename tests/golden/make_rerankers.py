"""Writes rerankers.json: llama.cpp's scores of the tiny files of reranker_files.py.

    PYTHONPATH=.:tests/helpers python tests/golden/make_rerankers.py

in an environment with gguf and llama-cpp-python 0.3.36. Queries and documents are joined as
llama-server joins them.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import llama_cpp
from reranker_files import DOCUMENTS, QUERY, RERANKERS, TEMPLATE, write_reranker


def main() -> None:
    golden = {}
    for name in RERANKERS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tiny.gguf"
            write_reranker(path, name, "F32")
            ids, scores = run(path)
            golden[name] = {"ids": ids, "scores": scores}
        print(name, scores)
    target = Path(__file__).with_name("rerankers.json")
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


def run(path: Path) -> tuple[list[list[int]], list[float]]:
    """The token ids and the score of each document."""
    llm = llama_cpp.Llama(
        str(path), n_ctx=128, n_batch=128, n_threads=1, verbose=False, embedding=True,
        pooling_type=4, type_k=0, type_v=0, flash_attn=False,
    )  # fmt: skip
    ids, scores = [], []
    for document in DOCUMENTS:
        ids.append(join(llm, document))
        llm._ctx.kv_cache_clear()
        llm._batch.reset()
        llm._batch.add_sequence(ids[-1], 0, True)
        llm._ctx.decode(llm._batch)
        scores.append(float(f"{llama_cpp.llama_get_embeddings_seq(llm._ctx.ctx, 0)[0]:.7g}"))
    return ids, scores


def join(llm: llama_cpp.Llama, document: str) -> list[int]:
    if "tokenizer.chat_template.rerank" in llm.metadata:
        text = TEMPLATE.replace("{query}", QUERY).replace("{document}", document)
        return llm.tokenize(text.encode(), add_bos=False, special=True)
    query, document_ids = (
        llm.tokenize(text.encode(), add_bos=False, special=False) for text in (QUERY, document)
    )
    # without BOS, llama.cpp has left out EOS too
    return [llm.token_bos(), *query, llm.token_eos(), *document_ids, llm.token_eos()]


if __name__ == "__main__":
    main()
