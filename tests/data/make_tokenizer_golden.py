r"""Writes tokenizer_golden.json: token ids from llama.cpp for the vocabularies of the test models.

pip install llama-cpp-python==0.3.36
python tests/data/make_tokenizer_golden.py SmolLM2-135M-Instruct.Q4_1.gguf gemma-3-270m.gguf \
    all-MiniLM-L6-v2.Q8_0.gguf
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import llama_cpp

TARGET = Path(__file__).parent / "tokenizer_golden.json"
NAMES = ("smollm2-135m-instruct", "gemma-3-270m", "all-minilm-l6-v2")
TEXTS = [
    "Hello world",
    "  leading and   runs    of spaces \n\n\t tabs\r\n x ",
    "def f(x):\n    return x  # 123 4567\n",
    "Ünïcödé ﬁ ½ ² Ⅷ ñandú ÉCOLE 漢字かな交じり文 한국어 العربية हिन्दी ไทย",
    "👩‍👩‍👧‍👦 🇩🇪 👍🏽 e\u0301 \u200d x 𝔘𝔫𝔦 𐐀𐐨",
    "I'm YOU'LL 'S don't we're",
    "a" * 300,
    " " * 200,
    "\n" * 77,
    "<s>x</s> <bos><|im_start|>user\nhi<|im_end|><|begin_of_text|> <start_of_turn>",
    "<|endoftext|><|endoftext|>  <unused7><mask> b<unk> c",
    "\x01\x1c\x1d\x1e\x1f\x85\xa0\u2028\u3000\ufeff",
    "12345678901234567890 1.5e-10 ٣٤٥",
    "<div> </div>  > </ x > </p>▁▁x▁ ▁",
    "NASA's iPhone XMLHttpRequest camelCase",
]
PIECES = [
    *("a", "B", "é", "漢", "1", "23", " ", "  ", "\n", "\r", "\t", "'", "s", ".", "!", "😀"),
    *("\u200d", "\u0301", "ß", "▁", "<", "|", ">", "½", "\u2028", "가", "$", "_", "(", "'ll"),
]


def main() -> None:
    chance = random.Random(1)
    texts = TEXTS + ["".join(chance.choices(PIECES, k=chance.randint(1, 30))) for _ in range(60)]
    models = {name: golden(path, texts) for name, path in zip(NAMES, sys.argv[1:4], strict=True)}
    TARGET.write_text(json.dumps({"texts": texts, "models": models}, indent=None) + "\n")


def golden(path: str, texts: list[str]) -> dict[str, Any]:
    llama = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    return {
        "bos": llama.token_bos(),
        "eos": llama.token_eos(),
        "add_bos": llama_cpp.llama_vocab_get_add_bos(vocabulary),
        "eog": [t for t in range(llama.n_vocab()) if llama_cpp.llama_vocab_is_eog(vocabulary, t)],
        "ids": [llama.tokenize(text.encode(), add_bos=True, special=True) for text in texts],
        "plain_ids": [
            llama.tokenize(text.encode(), add_bos=False, special=False) for text in texts
        ],
    }


if __name__ == "__main__":
    main()
