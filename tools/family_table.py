"""Prints what the tests measure of each family of models, as a table in Markdown.

    PYTHONPATH=. python tools/family_table.py

Errors: how far NumPy's logits are from the oracle's, as a part of the largest logit; and how far
the kernels stray with Q8_0 weights, as a part of what llama.cpp strays with the same file (KL of
decoders, root mean square of experts and encoders). Tokenizers: texts whose ids are all equal, of
those compared, and with whose vocabulary. The data are those of the tests; it takes two minutes.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [
    str(ROOT / "tests" / folder) for folder in ("helpers", "architectures", "chat", "tokenizer")
]

import test_architectures as dense  # noqa: E402
import test_chat_families as chat  # noqa: E402
import test_experts_and_encoders as others  # noqa: E402
import test_tokenizer_gguf as small  # noqa: E402
import test_tokenizer_vocabularies as vocabularies  # noqa: E402
import tokenizers as hf  # noqa: E402
from architecture_files import (  # noqa: E402
    CASES,
    EXPERTS_AND_ENCODERS,
    TEXT,
    divergence,
    many_ids,
    write_case,
)
from get_test_tokenizers import get_test_tokenizers  # noqa: E402
from minilm import minilm_path  # noqa: E402
from tokenizer_texts import texts  # noqa: E402
from vocabulary_digests import GROUP, base_vocabulary  # noqa: E402

from oxillama_web.gguf.reader import GGUFFile  # noqa: E402
from oxillama_web.hub.models import fetch  # noqa: E402
from oxillama_web.tokenizer import Tokenizer, load_gguf_vocabulary, load_tokenizer_json  # noqa: E402


class Compared(NamedTuple):
    """What else of a family is compared, by name.

    Attributes:
        json: tokenizer.json files, with Hugging Face tokenizers.
        gguf: vocabularies, or names of tokenizer.ggml.pre, with llama.cpp.
        templates: chat templates, with transformers.
        like: a family that has the same kinds of tokenizers.
    """

    json: str = ""
    gguf: str = ""
    templates: tuple[str, ...] = ()
    like: str = ""


class Family(NamedTuple):
    """A row of the table; `cases` are those of tests/helpers/architecture_cases."""

    name: str
    cases: tuple[str, ...]
    oracle: str
    compared: Compared


# Families that are not here are compared by the tokenizer of their tiny file alone.
COMPARED = {
    "llama": Compared(
        "llama2 llama3",
        "llama-spm llama-bpe smollm2-135m-instruct",
        ("Llama 3.1", "Llama 3.2", "Hermes 3"),
    ),
    "llama: Mistral": Compared(templates=("Mistral Nemo",), like="llama"),
    "llama: Mixtral": Compared(like="llama"),
    "qwen2": Compared(gguf="qwen2", templates=("Qwen2.5", "QwQ", "DeepSeek R1")),
    "qwen2moe": Compared(like="qwen2"),
    "qwen3": Compared("qwen3", templates=("Qwen3",)),
    "qwen3moe": Compared(like="qwen3"),
    "smollm3": Compared(templates=("SmolLM3",), like="llama"),
    "gemma": Compared(like="gemma3"),
    "gemma2": Compared(templates=("Gemma 2",), like="gemma3"),
    "gemma3": Compared("gemma3", "gemma-3-270m"),
    "gemma3n": Compared(like="gemma3"),
    "gemma4": Compared(gguf="gemma-4"),
    "gemma-embedding": Compared(like="gemma3"),
    "phi2": Compared(gguf="phi-2"),
    "phi3": Compared(gguf="phi-3", templates=("Phi 3.5",)),
    "command-r": Compared(gguf="command-r"),
    "cohere2": Compared(templates=("Command R7B",), like="command-r"),
    "falcon": Compared(gguf="falcon"),
    "gpt2": Compared(gguf="gpt-2"),
    "starcoder, starcoder2": Compared(gguf="starcoder"),
    "stablelm": Compared(gguf="gpt-neox"),
    "olmo2": Compared(gguf="dbrx"),
    "granite": Compared(gguf="refact", templates=("Granite 3.3",)),
    "granitemoe": Compared(like="granite"),
    "gpt-oss": Compared("gptoss", templates=("gpt-oss",)),
    "bert": Compared(gguf="bert-bge all-minilm-l6-v2"),
    "nomic-bert": Compared(like="bert"),
    "others": Compared(
        "deepseek_v3",
        "deepseek-llm deepseek-coder qwen35 aquila baichuan mpt nomic-bert-moe unigram",
        ("Granite 4", "DeepSeek V3.1", "Kimi K2", "LFM2", "GLM 4.6"),
    ),
}


def families() -> list[Family]:
    """Return a row for each family that has a case or something else to compare."""
    cases = {**CASES, **EXPERTS_AND_ENCODERS}
    by_family: dict[str, list[str]] = {name: [] for name in COMPARED}
    for name, case in cases.items():
        by_family.setdefault(case.family or case.architecture, []).append(name)
    return [
        Family(
            name,
            tuple(names),
            ", ".join(dict.fromkeys(cases[case].oracle for case in names)),
            COMPARED.get(name, Compared()),
        )
        for name, names in by_family.items()
    ]


def main() -> None:
    datetime.datetime = chat.FixedDate  # type: ignore[misc]
    print("| family | oracle | largest error | tokenizer cases passed | template cases passed |")
    print("|---|---|---|---|---|")
    for family in families():
        cells = (
            family.name,
            family.oracle,
            errors(family.cases),
            ", ".join(tokenizer_cells(family)),
            ", ".join(map(template_cell, family.compared.templates)),
        )
        print("| " + " | ".join(cells) + " |", flush=True)


def errors(cases: Sequence[str]) -> str:
    """The largest of a family's cases."""
    if not cases:
        return ""
    both = [
        other_errors(case) if case in EXPERTS_AND_ENCODERS else dense_errors(case) for case in cases
    ]
    exact, quantized = (max(column) for column in zip(*both, strict=True))
    return f"{exact:.0e}; kernels {quantized:.2f} of llama.cpp's"


def dense_errors(case: str) -> tuple[float, float]:
    golden = dense.golden(case)
    with tempfile.TemporaryDirectory() as folder:
        exact = dense.load(Path(folder), case, "F32", "numpy")
        quantized = dense.load(Path(folder), case, "Q8_0", "kernels")
        found = dense.logits(exact, golden["ids"])[golden["positions"]]
        both = [
            [dense.logits(engine, ids) for ids in many_ids(case)] for engine in (exact, quantized)
        ]
    return largest(found, golden["logits"]), divergence(case, *both) / golden["llamacpp_kl"]


def other_errors(case: str) -> tuple[float, float]:
    golden = {"name": case, **others.GOLDEN[case]}
    with tempfile.TemporaryDirectory() as folder:
        model = others.model(golden, Path(folder), "F32")
        exact = others.run(others.numpy_executor(model), golden["ids"])
        quantized_model = others.model(golden, Path(folder), "Q8_0")
        library = others.libraries()[-1]
        quantized = others.run(others.kernel_executor(quantized_model, library), golden["ids"])
    strayed = np.linalg.norm(quantized - exact) / np.linalg.norm(exact)
    return largest(exact[golden["positions"]], golden["exact"]), strayed / golden["q8_0_error"]


def largest(found: np.ndarray, expected: list[list[float]]) -> float:
    return float(np.abs(found - np.array(expected)).max() / np.abs(expected).max())


def tokenizer_cells(family: Family) -> list[str]:
    """Of published vocabularies; of the tiny files' where there are none."""
    compared = family.compared
    if compared.like:
        return [f"as {compared.like}"]
    names = [*map(json_cell, compared.json.split()), *map(gguf_cell, compared.gguf.split())]
    return names or [tiny_cell(case) for case in family.cases[:1]]


def json_cell(name: str) -> str:
    spec = (get_test_tokenizers() / f"{name}.json").read_text(encoding="utf-8")
    special = [token["content"] for token in json.loads(spec)["added_tokens"]][:300]
    samples = texts(10_000, special)
    ours, theirs = load_tokenizer_json(spec), hf.Tokenizer.from_str(spec).encode_batch(samples)
    return cell(
        (ours.encode(text) == other.ids for text, other in zip(samples, theirs, strict=True)), name
    )


def gguf_cell(name: str) -> str:
    if name == "unigram":
        golden = json.loads((ROOT / "tests" / "golden" / "unigram.json").read_text("utf-8"))
        results: list[bool] = []
        for variant in golden["variants"]:
            tokenizer = small.unigram_tokenizer(golden["metadata"] | variant["metadata"])
            results += same_ids(tokenizer, golden["texts"], variant)
        return cell(results, name)
    if name in small.LLAMA_CPP["models"]:
        path = minilm_path("Q8_0") if name.startswith("all-minilm") else fetch(name)
        tokenizer = load_gguf_vocabulary(GGUFFile(path.read_bytes()).metadata)
        expected = small.LLAMA_CPP["models"][name]
        return cell(same_ids(tokenizer, small.LLAMA_CPP["texts"], expected), name)
    if name not in vocabularies.GOLDEN["vocabularies"]:
        samples, differ = vocabularies.compare_pre_tokenizer(name, base_vocabulary())
        name = f"pre-tokenizer {name}"
    else:
        samples, differ = vocabularies.compare(name)
    return cell((n // GROUP not in differ for n in range(len(samples))), name)


def same_ids(tokenizer: Tokenizer, samples: list[str], expected: dict[str, Any]) -> list[bool]:
    plain = {"add_bos": False, "add_eos": False, "parse_special": False}
    pairs = zip(expected["ids"], expected["plain_ids"], strict=True)
    return [
        tokenizer.encode(text) == ids and tokenizer.encode(text, **plain) == plain_ids
        for text, (ids, plain_ids) in zip(samples, pairs, strict=True)
    ]


def tiny_cell(case: str) -> str:
    """The text of a tiny file's golden values."""
    with tempfile.TemporaryDirectory() as folder:
        write_case(Path(folder) / "tiny.gguf", case, "Q8_0")
        metadata = GGUFFile((Path(folder) / "tiny.gguf").read_bytes()).metadata
    expected = dense.golden(case)["ids"]
    ids = load_gguf_vocabulary(metadata).encode(TEXT)[: len(expected)]
    return cell([ids == expected], "tiny file")


def template_cell(name: str) -> str:
    golden = chat.GOLDEN["families"][name]
    return cell(
        (chat.render(golden["template"], case) == case.get("text") for case in golden["cases"]),
        name,
    )


def cell(same: Iterable[bool], name: str) -> str:
    results = list(same)
    passed = f"{sum(results):,}"
    return f"{passed if all(results) else f'{passed} of {len(results):,}'} ({name})"


if __name__ == "__main__":
    main()
