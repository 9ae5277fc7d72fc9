"""Writes small vocabularies of every kind into GGUF files, with the gguf package."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
from gguf import TokenType

SAMPLE = (
    "the quick brown fox jumps over the lazy dog and then the dog sleeps in the warm sun while "
    "the fox runs home to tell the others what it has seen on the way to the other side of the hill"
)
# a vocabulary of BERT, as its vocab.txt has it
WORD_PIECES = [
    *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "?"],
    *"abcdefghijklmnopqrstuvwxyz",
    *[f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"],
    *dict.fromkeys(word for word in SAMPLE.split() if len(word) > 1),
    *["##ing", "##ed", "##er"],
]


def add_byte_level_vocabulary(writer: gguf.GGUFWriter, size: int, pre: str = "smollm") -> None:
    """Three special tokens, 256 bytes as GPT-2 writes them, and merges learned from SAMPLE."""
    letters = byte_letters()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    n_merges = size - len(special) - len(letters)
    merges = _learn_merges([letters[ord(c)] for c in SAMPLE], letters[ord(" ")], n_merges)
    tokens = special + list(letters.values()) + ["".join(pair) for pair in merges]
    tokens += [f"<|unused{index}|>" for index in range(size - len(tokens))]
    types = [TokenType.UNUSED if t.startswith("<|unused") else TokenType.NORMAL for t in tokens]
    types[: len(special)] = [TokenType.CONTROL] * len(special)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def add_sentencepiece_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Four special tokens, 256 bytes, the letters, and merged pieces whose score is their rank."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?'\n"]
    n_bytes = len(special) + 256
    letters = letters[: size - n_bytes]
    merges = _learn_merges(list(SAMPLE.replace(" ", "▁")), "▁", size - n_bytes - len(letters))
    pieces = list(dict.fromkeys("".join(pair) for pair in merges))
    normal = pieces + letters
    tokens = special + [f"<0x{byte:02X}>" for byte in range(256)] + normal
    unused = [f"<unused{index}>" for index in range(size - len(tokens))]
    types = [TokenType.CONTROL] * 3 + [TokenType.UNKNOWN] + [TokenType.BYTE] * 256
    types += [TokenType.NORMAL] * len(normal) + [TokenType.UNUSED] * len(unused)
    scores = [-1000.0] * n_bytes + [-float(rank) for rank in range(len(normal))]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens + unused)
    writer.add_token_scores(scores + [-1000.0] * len(unused))
    writer.add_token_types(types)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)


def add_word_piece_vocabulary(writer: gguf.GGUFWriter) -> None:
    """WORD_PIECES in the form of llama.cpp's files: a mark for a word's start, none within."""
    tokens = [
        token if token.startswith("[") else token[2:] if token.startswith("##") else "▁" + token
        for token in WORD_PIECES
    ]
    types = [TokenType.CONTROL if t.startswith("[") else TokenType.NORMAL for t in tokens]
    types[1] = TokenType.UNKNOWN
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)


def byte_letters() -> dict[int, str]:
    """The visible letter that GPT-2's vocabulary has for each byte."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {byte: chr(byte) for byte in visible}
    letters |= {byte: chr(256 + index) for index, byte in enumerate(hidden)}
    return dict(sorted(letters.items()))


def write_vocabulary(path: Path, metadata: Mapping[str, Any]) -> None:
    """A file that holds nothing but a vocabulary."""
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in metadata.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_array(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _learn_merges(letters: list[str], space: str, n_merges: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: joins the most frequent pair within a word, again and again."""
    merges: list[tuple[str, str]] = []
    pieces = letters
    while len(merges) < n_merges:
        pairs: Any = Counter(
            pair for pair in itertools.pairwise(pieces) if not pair[1].startswith(space)
        )
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        joined: list[str] = []
        for piece in pieces:
            if joined and (joined[-1], piece) == best:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined
    return merges
