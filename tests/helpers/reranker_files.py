"""Tiny rerankers: a head of each kind on a tiny encoder or decoder of random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
from architecture_cases.bert import fill_bert
from architecture_cases.modern_bert import fill_modern_bert
from tiny_file import WIDTH, Format, TinyFile, llama_case

QUERY = "the fox and the dog"
DOCUMENTS = [
    "the fox runs over the hill",
    "dog",
    "what the man said to the others on the way to the house is in the end not the same",
    "the quick brown fox jumps over the lazy dog and then the dog sleeps in the warm sun",
    "It has 12 dogs, said the man",
]
TEMPLATE = "<|im_start|>Query: {query}\nDocument: {document}<|im_end|>\n"


def _bert(file: TinyFile) -> None:
    fill_bert(file, positions=True)
    file.linear("cls", WIDTH, WIDTH, bias=True)
    file.linear("cls.output", WIDTH, 1, bias=True)


def _bert_output_only(file: TinyFile) -> None:
    fill_bert(file, positions=True)
    file.linear("cls.output", WIDTH, 1, bias=True)


def _jina(file: TinyFile) -> None:
    fill_bert(file, gate="own")
    file.linear("cls", WIDTH, 1, bias=True)


def _modern_bert(file: TinyFile) -> None:
    fill_modern_bert(file)
    file.linear("cls", WIDTH, WIDTH)
    file.norm("cls.norm", WIDTH)
    file.linear("cls.output", WIDTH, 1, bias=True)


def _modern_bert_first(file: TinyFile) -> None:
    file.writer.add_uint32("modern-bert.classifier.pooling_type", 2)
    _modern_bert(file)


def _qwen3(file: TinyFile) -> None:
    file.writer.add_chat_template([{"name": "rerank", "template": TEMPLATE}])
    file.writer.add_classifier_output_labels(["yes", "no"])
    llama_case(3, 4, 2, 16, tied=True, pre="qwen2", qk_norm=True)(file)
    file.linear("cls.output", WIDTH, 2)


_FILLS: dict[str, tuple[str, Callable[[TinyFile], None]]] = {
    "bert": ("bert", _bert),
    "bert-output-only": ("bert", _bert_output_only),
    "jina": ("jina-bert-v2", _jina),
    "modern-bert": ("modern-bert", _modern_bert),
    "modern-bert-first": ("modern-bert", _modern_bert_first),
    "qwen3": ("qwen3", _qwen3),
}
RERANKERS = tuple(_FILLS)


def write_reranker(path: Path, name: str, format: Format = "F32", *, seed: int = 0) -> None:
    """Write one of RERANKERS."""
    architecture, fill = _FILLS[name]
    file = TinyFile(path, architecture, format, seed=seed)
    file.writer.add_pooling_type(gguf.PoolingType.RANK)
    fill(file)
    if name != "qwen3":  # as converters state it of texts that end with [SEP]
        file.writer.add_add_bos_token(True)
        file.writer.add_add_eos_token(True)
    file.finish()
