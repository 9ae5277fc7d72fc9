"""Small tokenizers of Hugging Face's, with the parts that the families of language models use.

Their vocabularies are trained here, on this repository's texts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers as hf
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from oxillama_web.gguf import reader
from oxillama_web.tokenizer.gguf_pre_tokenizers import gguf_pre_tokenizer

CORPUS = [
    *Path(__file__).read_text().splitlines(),
    *Path(reader.__file__).read_text().splitlines(),
    "Ünïcödé ñandú É ½ ² 漢字かな交じり文 한국어 العربية हिन्दी ไทย 👩‍👩‍👧 e\u0301 ﬁ the  The 1",
] * 2
SPECIAL = [
    hf.AddedToken("<s>", special=True, normalized=False),
    hf.AddedToken("</s>", special=True, normalized=False),
    hf.AddedToken("<|im_end|>", special=True, normalized=False),
    hf.AddedToken("<pad>", special=True, normalized=False),
    hf.AddedToken("<mask>", special=True, normalized=False, lstrip=True, rstrip=True),
]
ADDED = [hf.AddedToken("word", single_word=True), hf.AddedToken("[X]", normalized=True)]


def trained(
    model: Any,
    trainer: Any,
    *,
    normalizer: Any = None,
    pre_tokenizer: Any = None,
    decoder: Any = None,
    post_processor: Any = None,
) -> hf.Tokenizer:
    """A tokenizer with a vocabulary of its own."""
    tokenizer = hf.Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens(ADDED)
    if post_processor is not None:
        tokenizer.post_processor = post_processor
    return tokenizer


def bpe_trainer(**settings: Any) -> trainers.BpeTrainer:
    return trainers.BpeTrainer(vocab_size=700, show_progress=False, **settings)


def byte_level(*before: Any, **settings: Any) -> hf.Tokenizer:
    use_regex = not before
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    return trained(
        models.BPE(ignore_merges=settings.pop("ignore_merges", False)),
        bpe_trainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        pre_tokenizer=pre_tokenizers.Sequence([*before, byte_level]),
        decoder=decoders.ByteLevel(),
        **settings,
    )


def gpt2() -> hf.Tokenizer:
    return byte_level(post_processor=processors.ByteLevel())


def gpt2_with_prefix_space() -> hf.Tokenizer:
    tokenizer = gpt2()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 701), ("<s>", 700))
    return tokenizer


def llama3() -> hf.Tokenizer:
    split = pre_tokenizers.Split(Regex(gguf_pre_tokenizer("llama-bpe").patterns[0]), "isolated")
    template = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 700)])
    return byte_level(
        split,
        ignore_merges=True,
        post_processor=processors.Sequence([processors.ByteLevel(), template]),
    )


def qwen2() -> hf.Tokenizer:
    split = pre_tokenizers.Split(Regex(gguf_pre_tokenizer("qwen2").patterns[0]), "isolated")
    return byte_level(split, normalizer=normalizers.NFC())


def smollm() -> hf.Tokenizer:
    tokenizer = gpt2()
    digits = pre_tokenizers.Digits(individual_digits=True)
    spec = json.loads(tokenizer.to_str())
    spec["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            json.loads(digits.__getstate__()),
            json.loads(pre_tokenizers.ByteLevel(add_prefix_space=False).__getstate__()),
        ],
    }
    return hf.Tokenizer.from_str(json.dumps(spec))


def llama2() -> hf.Tokenizer:
    """SentencePiece's vocabulary as BPE, with byte tokens; spaces are written by a normalizer."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    return trained(
        models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
        bpe_trainer(special_tokens=["<unk>", *bytes_], limit_alphabet=90),
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        ),
        post_processor=processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 700), ("</s>", 701)]
        ),
    )


def gemma() -> hf.Tokenizer:
    tokenizer = llama2()
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def unknown_tokens() -> hf.Tokenizer:
    return trained(
        models.BPE(unk_token="<unk>", fuse_unk=True),
        bpe_trainer(special_tokens=["<unk>"], limit_alphabet=40),
        pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first"),
        decoder=decoders.Metaspace(prepend_scheme="first"),
    )


def word_endings() -> hf.Tokenizer:
    return trained(
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
        bpe_trainer(special_tokens=["<unk>"], end_of_word_suffix="</w>"),
        normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        pre_tokenizer=pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"\s+"), "removed"),
                pre_tokenizers.Punctuation("contiguous"),
            ]
        ),
    )


def unigram() -> hf.Tokenizer:
    return trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=400, unk_token="<unk>", special_tokens=["<unk>"]),
        normalizer=normalizers.Sequence(
            [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
        ),
        pre_tokenizer=pre_tokenizers.Metaspace(),
        decoder=decoders.Metaspace(),
    )


def bert() -> hf.Tokenizer:
    return trained(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(
            vocab_size=500, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False
        ),
        normalizer=normalizers.BertNormalizer(),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(),
        post_processor=processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
    )


FAMILIES = [
    *(gpt2, gpt2_with_prefix_space, llama3, qwen2, smollm, llama2, gemma, unknown_tokens),
    *(word_endings, unigram, bert),
]
