r"""The pre-tokenizers of byte-pair vocabularies in GGUF files, by the value of tokenizer.ggml.pre.

Names and patterns are those of llama.cpp's src/llama-vocab.cpp (llm_tokenizer_bpe). Where its
patterns only approximate the model's own (std::regex has no \p{Lu}), the model's own are used.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import TokenizerError


class GGUFPreTokenizer(NamedTuple):
    """Patterns that split text in turn, and what else llama.cpp ties to the same name.

    Attributes:
        patterns: in Oniguruma's syntax; matches and what lies between them become pre-tokens.
        ignore_merges: a pre-token that is a token as it is does not get merged.
        add_bos: a BOS token precedes a text, unless the file says otherwise.
        byte_level: pre-tokens are written in the byte alphabet (byte_level.py); otherwise spaces
            are written as U+2581 and unknown characters as <0xNN> tokens.
        has_spaces: whether white space is part of pre-tokens; otherwise it only divides words,
            which are in lower case if the file asks for it.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    byte_level: bool = True
    has_spaces: bool = True


def gguf_pre_tokenizer(name: str) -> GGUFPreTokenizer:
    """Return the pre-tokenizer of a `tokenizer.ggml.pre` value.

    Raises:
        TokenizerError: the name is not known.
    """
    for pre_tokenizer, names in _PRE_TOKENIZERS:
        if name in names.split():
            return pre_tokenizer
    known = ", ".join(sorted(word for _, names in _PRE_TOKENIZERS for word in names.split()))
    raise TokenizerError(
        f"the pre-tokenizer {name!r} (tokenizer.ggml.pre) is not supported; supported are: {known}"
    )


_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_OTHERS}|{_SPACES}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_OTHERS}|{_SPACES}"
_QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_OTHERS_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_OTHERS_SLASH}|{_SPACES}"
_GPT4O = (
    rf"{_CASED[0]}{_CONTRACTIONS}?|{_CASED[1]}{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}|{_OTHERS_SLASH}|{_SPACES}"
)
_DEEPSEEK_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
)
_CJK = r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_DEEPSEEK_CJK = r"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_BLOOM = r" ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_BAILING = (
    r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])"
    rf"|{_WORD}|\p{{N}}|{_OTHERS}|\s*[\r\n]|\s+(?!\S)|\s+"
)
_SEED = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}"
_EXAONE_MOE = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
# letters of scripts with case, as deepseek-llm lists them
_CASED_LETTERS = (
    r"A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    r"\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-"
    r"\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-"
    r"\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-"
    r"\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc"
    r"\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-"
    r"\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-"
    r"\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-"
    r"\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-"
    r"\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\x{10400}-\x{1044f}\x{104b0}-"
    r"\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}"
    r"\x{1e900}-\x{1e943}"
)
# digits in groups of three, counted from the right
_FROM_THE_RIGHT = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
_AFMOE_SCRIPTS = (
    r"[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
    r"\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff"
    r"\uac00-\ud7af\u1100-\u11ff]+"
)
_YOUTU = (
    r"[\uac00-\ud7a3\u3131-\u318e]+"
    r"|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
    rf"|[\u3105-\u312f]+|{_CJK}"
)
_JAIS2 = _LLAMA3.replace(
    _SPACES,
    r"\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)"
    r"|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s",
)
_NOT_HAN = r"(?:(?!\p{Han})"
_KIMI = r"\p{Han}+|" + _GPT4O.replace(_UPPER, f"{_NOT_HAN}{_UPPER})").replace(
    _LOWER, f"{_NOT_HAN}{_LOWER})"
).replace("/]*", "]*")
_PRE_TOKENIZERS = (
    (
        GGUFPreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
        "default",
    ),
    (
        GGUFPreTokenizer((_GPT2,)),
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert "
        "jina-v1-en jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling exaone4",
    ),
    (
        GGUFPreTokenizer((r"\p{N}", _GPT2)),
        "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    ),
    (
        GGUFPreTokenizer((_LLAMA3,), ignore_merges=True, add_bos=True),
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
    ),
    (GGUFPreTokenizer((_LLAMA3,)), "dbrx smaug-bpe chatglm-bpe"),
    (GGUFPreTokenizer((_LLAMA3,), ignore_merges=True), "glm4 glm5"),
    (GGUFPreTokenizer((_JAIS2,)), "jais-2"),
    (
        GGUFPreTokenizer((_QWEN2,)),
        "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    ),
    (GGUFPreTokenizer((_QWEN35,)), "qwen35"),
    (GGUFPreTokenizer((_QWEN2.removeprefix(f"{_CONTRACTIONS}|"),)), "ufakzeka"),
    (GGUFPreTokenizer((r"[^\n]+|\n+", _QWEN2)), "laguna"),
    (GGUFPreTokenizer((_TEKKEN,), ignore_merges=True, add_bos=True), "tekken"),
    (GGUFPreTokenizer((_GPT4O,)), "gpt-4o llama4 kanana2 talkie minimax-m2"),
    (GGUFPreTokenizer((_GPT4O,), ignore_merges=True), "granite-embed-multi-97m"),
    (GGUFPreTokenizer((_FROM_THE_RIGHT, _GPT4O)), "tiny_aya cohere2moe"),
    (GGUFPreTokenizer((_FROM_THE_RIGHT, _AFMOE_SCRIPTS, _DEEPSEEK_WORDS)), "afmoe"),
    (GGUFPreTokenizer((_YOUTU, _GPT4O.replace("{1,3}", "")), ignore_merges=True), "youtu"),
    (GGUFPreTokenizer((_KIMI,)), "kimi-k2"),
    (
        GGUFPreTokenizer((r"\p{N}{1,3}", _CJK, _DEEPSEEK_WORDS)),
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
    ),
    (
        GGUFPreTokenizer(
            (r"\p{N}{1,3}", _CJK, _DEEPSEEK_WORDS.replace(r"[\r\n]*|\s*[\r\n]+", r"|[\r\n]"))
        ),
        "spark2_5",
    ),
    (
        GGUFPreTokenizer(
            (
                r"[\r\n]",
                rf"\s?[{_CASED_LETTERS}]+",
                # without U+3000, which llama.cpp treats as white space only
                r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3001-\u3002]+",
                r"\s+\z",
                _DEEPSEEK_CJK,
                r"\p{N}+",
            )
        ),
        "deepseek-llm",
    ),
    (
        GGUFPreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_CJK, r"\p{N}")),
        "deepseek-coder",
    ),
    (
        GGUFPreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")),
        "falcon",
    ),
    (GGUFPreTokenizer((_BLOOM,)), "bloom poro-chat gpt3-finnish"),
    (GGUFPreTokenizer((_BLOOM, r"\p{N}")), "viking"),
    (GGUFPreTokenizer((_BAILING,)), "bailingmoe bailingmoe2 llada-moe"),
    (GGUFPreTokenizer((_SEED,)), "seed-coder"),
    (GGUFPreTokenizer((_EXAONE_MOE,)), "exaone-moe"),
    (GGUFPreTokenizer((r"\p{N}+", r"(?=(\d{3})+(?!\d))")), "superbpe"),
    (
        GGUFPreTokenizer((r"\p{N}{1,3}", _LLAMA3.replace("{1,3}", "+")), ignore_merges=True),
        "minicpm5",
    ),
    (
        GGUFPreTokenizer(
            (
                "<sentinel:[0-9]+>",
                "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                r"[\t\n]|    |  ",
                r"\p{N}",
                r"[\p{P}!-/:-@\[-`{-~]",
                _GPT2,
            ),
            add_bos=True,
        ),
        "chameleon",
    ),
    (
        GGUFPreTokenizer((r"[^\n]+|\n+",), add_bos=True, byte_level=False),
        "gemma4 granite-embed-multi-311m",
    ),
    (GGUFPreTokenizer((r"[^\n]+|\n+",), byte_level=False), "sarvam-moe"),
    # words of vocabularies that know no spaces
    (GGUFPreTokenizer((r"\S+",), byte_level=False, has_spaces=False), "whitespace"),
)
