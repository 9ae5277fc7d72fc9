"""The prompt: the same text and token ids for every engine."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT = Path(__file__).resolve().parent / "prompt.txt"
WARM_UP_WORDS = 12
# one token in every vocabulary, as a word after others
FILLER = " and"


@dataclass(frozen=True)
class Prompt:
    """A text and its token ids, with the BOS that the model wants."""

    text: str
    ids: list[int]


def make_prompt(model: Path, tokens: int) -> Prompt:
    """Cut or repeat the prose of prompt.txt until it has exactly ``tokens`` tokens.

    Raises ValueError if no cut gives that many.
    """
    tokenizer = _tokenizer(model)
    words = TEXT.read_text().split()
    while len(tokenizer.encode(" ".join(words))) < tokens:
        words += words
    fitting = _longest_fitting(tokenizer, words, tokens)
    text = " ".join(words[:fitting])
    text += FILLER * (tokens - len(tokenizer.encode(text)))
    ids = tokenizer.encode(text)
    if len(ids) != tokens:
        raise ValueError(f"the prompt has {len(ids)} tokens, not {tokens}")
    return Prompt(text, ids)


def make_warm_up(model: Path) -> Prompt:
    """Take the first words of the prose: enough to have every kernel compiled."""
    text = " ".join(TEXT.read_text().split()[:WARM_UP_WORDS])
    return Prompt(text, _tokenizer(model).encode(text))


def _longest_fitting(tokenizer: Any, words: list[str], tokens: int) -> int:
    """Find by bisection how many words make at most ``tokens`` tokens."""
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if len(tokenizer.encode(" ".join(words[:middle]))) <= tokens:
            low = middle
        else:
            high = middle - 1
    return low


def _tokenizer(model: Path) -> Any:
    from oxillama_web.gguf.reader import GGUFFile
    from oxillama_web.tokenizer import load_gguf_vocabulary

    with model.open("rb") as file:
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return load_gguf_vocabulary(GGUFFile(buffer).metadata)
