"""Text to token ids and back, in pure Python: GGUF vocabularies and Hugging Face's tokenizer.json.

A tokenizer cuts special tokens out of a text (special_tokens.py), splits the rest into words
(split_rules.py, words.py) and merges the characters of each word (merging.py).
"""

from __future__ import annotations

from .base import StreamDecoder, Tokenizer
from .gguf_vocabulary import load_gguf_vocabulary

__all__ = ["StreamDecoder", "Tokenizer", "load_gguf_vocabulary", "load_tokenizer_json"]


def load_tokenizer_json(
    text: str | bytes,
    bos_id: int | None = None,
    eos_id: int | None = None,
    *,
    use_library: bool = False,
) -> Tokenizer:
    """A tokenizer from the content of a Hugging Face tokenizer.json.

    The file does not say which tokens begin and end a text. Give them if they are known (a GGUF
    file's metadata has them); else they are taken from its template and from well-known names.

    With `use_library` the package `tokenizers` encodes where it is installed: the ids are the same.

    Raises:
        TokenizerError: the file is broken, or uses a part that is not supported.
    """
    from .tokenizer_json import load  # its parts are needed by few, and cost time to import

    tokenizer = load(text, bos_id, eos_id)
    if use_library:
        from .library import find_library_encoder

        tokenizer.whole_text_encoder = find_library_encoder(text)
    return tokenizer
