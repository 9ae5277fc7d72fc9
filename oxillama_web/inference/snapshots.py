"""A conversation as data: taken from its cache, written to a file, and restored.

The file: b"OXKV", the version and the length of the header (uint32, little-endian), the header
(JSON: the fields of KVSnapshot except its data), the data, and the CRC-32 of everything before.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequestError, SnapshotError
from ..validation import instance, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import LoadedModel
    from .sequence import TokenSequence

VERSION = 3
_READABLE = (2, 3)  # version 2 has no discarded tokens
_MAGIC = b"OXKV"
_FILE = instance((bytes, bytearray, memoryview), "the bytes of a snapshot")
# Keys of the file's header, by the fields that they hold.
_KEYS = {
    **{name: name for name in ("model", "fingerprint", "layout", "tokens", "pending")},
    "discarded": "forgotten",
    "n_keep": "n_kept",
}


@dataclass(frozen=True, slots=True)
class KVSnapshot:
    """What a conversation needs to go on without computing its tokens again.

    Attributes:
        model: the model's name.
        fingerprint: a digest of the model's metadata, of samples of all of its weights, and of
            the adapters that were applied.
        layout: how `data` is laid out (SequenceCache.layout).
        tokens, pending, discarded: as in TokenSequence.
        data: keys and values (SequenceCache.export).
        n_keep: how many of `tokens` stood before the discarded ones; 0 without such.
    """

    model: str
    fingerprint: str
    layout: str
    tokens: tuple[int, ...]
    pending: tuple[int, ...]
    data: bytes
    discarded: tuple[int, ...] = ()
    n_keep: int = 0

    @classmethod
    def of(cls, sequence: TokenSequence) -> KVSnapshot:
        """Take a snapshot of a conversation's tokens."""
        sequence.catch_up()
        return cls(
            model=sequence.model.config.name,
            fingerprint=fingerprint(sequence.model),
            layout=sequence.cache.layout,
            tokens=tuple(sequence.tokens),
            pending=tuple(sequence.pending),
            data=sequence.cache.export(),
            discarded=tuple(sequence.discarded),
            n_keep=sequence.n_keep if sequence.discarded else 0,
        )

    def restore(self, sequence: TokenSequence) -> None:
        """Replace a conversation's tokens with these.

        Raises:
            SnapshotError: it was made with another model, another format of the cache or another
                executor, or is broken. The sequence is as it was.
            OutOfMemoryError: the cache does not fit into memory. The sequence is as it was.
        """
        self._check(sequence.model)
        cache = sequence.model.executor.new_cache()
        if self.layout != cache.layout:
            raise SnapshotError(
                f"the snapshot's cache is laid out as {shown(self.layout)}, this model's as "
                f"{cache.layout!r}; load with the kv_cache_type and executor it was made with"
            )
        try:
            cache.restore(self.data, len(self.tokens))
        except InvalidRequestError as error:
            raise SnapshotError(f"the snapshot is broken: {error}") from error
        sequence.replace(self.tokens, self.pending, cache)
        if self.discarded:
            sequence.discarded, sequence.n_keep = list(self.discarded), self.n_keep

    def to_bytes(self) -> bytes:
        """Return the snapshot as a file."""
        header = json.dumps({key: getattr(self, name) for name, key in _KEYS.items()}).encode()
        sizes = VERSION.to_bytes(4, "little") + len(header).to_bytes(4, "little")
        content = b"".join((_MAGIC, sizes, header, self.data))
        return content + zlib.crc32(content).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, file: bytes) -> KVSnapshot:
        """Read what `to_bytes` has written.

        Raises:
            SnapshotError: it is no snapshot, is damaged, or is of another version.
        """
        content = memoryview(_FILE("file", file)).cast("B")
        if len(content) < 16 or content[:4] != _MAGIC:
            raise SnapshotError("this is no snapshot of a conversation")
        version = int.from_bytes(content[4:8], "little")
        if version not in _READABLE:
            raise SnapshotError(
                f"the snapshot has version {version}, and this package reads those of "
                f"{_READABLE[0]} to {VERSION}"
            )
        if zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
            raise SnapshotError("the snapshot is damaged: its checksum does not match")
        end = 12 + int.from_bytes(content[8:12], "little")
        if end > len(content) - 4:
            raise SnapshotError("the snapshot is damaged: its header is longer than the file")
        return cls(**_read_header(bytes(content[12:end])), data=bytes(content[end:-4]))

    def _check(self, model: LoadedModel) -> None:
        """Raise SnapshotError if it was made with another model, or does not fit it."""
        if self.fingerprint != fingerprint(model):
            raise SnapshotError(
                f"the snapshot was made with {shown(self.model)}, in another file or with other "
                f"adapters than {model.config.name!r} now; load that one"
            )
        if len(self.tokens) > model.context_size or len(self.pending) > 1:
            raise SnapshotError(
                f"the snapshot has {len(self.tokens)} tokens, and the context takes "
                f"{model.context_size}; load with a larger context_size"
            )
        # a shift needs room after the tokens that it keeps
        if self.discarded and not 0 <= self.n_keep <= min(len(self.tokens), model.context_size - 2):
            raise SnapshotError(
                f"the snapshot keeps {self.n_keep} tokens for good, of {len(self.tokens)} in a "
                f"context of {model.context_size}; load with a larger context_size"
            )
        for token in (*self.tokens, *self.pending, *self.discarded):
            if not 0 <= token < model.config.vocab_size:
                raise SnapshotError(
                    f"the snapshot has token {token}, which is outside of the vocabulary, 0 to "
                    f"{model.config.vocab_size - 1}"
                )


def _read_header(header: bytes) -> dict[str, Any]:
    """Return the fields that a file's header holds, each of its type."""
    try:
        found = json.loads(header)
    except (ValueError, RecursionError) as error:  # it may be nested too deeply
        raise SnapshotError(f"the snapshot's header is broken: {error}") from error
    if not isinstance(found, dict):
        raise SnapshotError("the snapshot's header is broken: it is no object")
    fields = {}
    for name, key in _KEYS.items():
        expected, is_right = _KINDS[name]
        value = found.get(key, _DEFAULTS.get(name))
        if not is_right(value):
            raise SnapshotError(
                f"the snapshot's header is broken: {key} is {shown(value)}; it must be {expected}"
            )
        fields[name] = tuple(value) if isinstance(value, list) else value
    return fields


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 31


def _are_tokens(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


# What each field must be in a file's header, and how to tell.
_KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("model", "fingerprint", "layout"), ("a text", _is_text)),
    **dict.fromkeys(("tokens", "pending", "discarded"), ("a list of token ids", _are_tokens)),
    "n_keep": ("a number of tokens", _is_number),
}
# of version 2
_DEFAULTS: dict[str, Any] = {"discarded": [], "n_keep": 0}


def fingerprint(model: LoadedModel) -> str:
    """Return a hex digest of the model's metadata, samples of its weights, and its adapters."""
    from dataclasses import replace

    # the size of the context is the caller's choice
    parts: list[object] = [replace(model.config, context_size=0), model.chat_template]
    parts += [(t.name, t.shape, t.format) for t in model.tensors.values()]
    parts += model.samples.values()
    parts += [
        (lora.adapter.name, lora.adapter.weights, lora.adapter.alpha, lora.scale)
        for lora in model.lora_stack
    ]
    return sha256(repr(parts).encode()).hexdigest()
