"""Text to token ids and back, in pure Python: GGUF vocabularies and Hugging Face's tokenizer.json.

A tokenizer cuts special tokens out of a text (special_tokens.py), splits the rest into pre-tokens
(gguf_pre_tokenizers.py, pre_tokenizers.py, metaspace.py) and merges the characters of each one
(merging.py).
"""

from __future__ import annotations

from .gguf_vocabulary import load_gguf_vocabulary
from .tokenizer import StreamDecoder, Tokenizer

__all__ = ["StreamDecoder", "Tokenizer", "load_gguf_vocabulary", "load_tokenizer_json"]


def load_tokenizer_json(
    text: str | bytes,
    bos_id: int | None = None,
    eos_id: int | None = None,
    *,
    use_library: bool = False,
) -> Tokenizer:
    """Return a tokenizer from the content of a Hugging Face tokenizer.json.

    The file does not say which tokens begin and end a text. Give them if you know them (the
    metadata of a GGUF file has them); otherwise the file's template and well-known names decide.

    Args:
        text: the content of the file.
        bos_id, eos_id: the tokens of a text's beginning and end.
        use_library: encode with the package `tokenizers` if it is installed. The ids are the same.

    Raises:
        TokenizerError: the file is broken, or uses a part that is not supported.
    """
    from .tokenizer_json import load  # its parts are needed by few, and cost time to import

    return load(text, bos_id, eos_id, use_library=use_library)
