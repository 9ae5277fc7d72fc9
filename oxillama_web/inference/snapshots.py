"""A conversation as data: taken from its cache, written to a file, and restored.

The file: b"OXKV", the version and the length of the header (uint32, little-endian), the header
(JSON: the fields of KVSnapshot except its data), the data, and the CRC-32 of everything before.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from ..errors import InvalidRequestError

if TYPE_CHECKING:
    from .model import LoadedModel
    from .sequence import TokenSequence

VERSION = 3
_READABLE = (2, 3)  # version 2 has no discarded tokens
_MAGIC = b"OXKV"
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
            InvalidRequestError: it was made with another model, another format of the cache or
                another executor, or is broken. The sequence is as it was.
        """
        self._check(sequence.model)
        cache = sequence.model.executor.new_cache()
        if self.layout != cache.layout:
            raise InvalidRequestError(
                f"the snapshot's cache is laid out as {self.layout!r}, this model's as "
                f"{cache.layout!r}; load with the kv_cache_type and executor it was made with"
            )
        cache.restore(self.data, len(self.tokens))
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
            InvalidRequestError: it is no snapshot, is damaged, or is of another version.
        """
        if len(file) < 16 or file[:4] != _MAGIC:
            raise InvalidRequestError("this is no snapshot of a conversation")
        version = int.from_bytes(file[4:8], "little")
        if version not in _READABLE:
            raise InvalidRequestError(
                f"the snapshot has version {version}, and this package reads those of "
                f"{_READABLE[0]} to {VERSION}"
            )
        if zlib.crc32(memoryview(file)[:-4]) != int.from_bytes(file[-4:], "little"):
            raise InvalidRequestError("the snapshot is damaged: its checksum does not match")
        end = 12 + int.from_bytes(file[8:12], "little")
        try:
            header = {"forgotten": (), "n_kept": 0, **json.loads(file[12:end])}
            fields = {name: header[key] for name, key in _KEYS.items()}
            for name in ("tokens", "pending", "discarded"):
                fields[name] = tuple(map(int, fields[name]))
            fields["n_keep"] = int(fields["n_keep"])
            return cls(**fields, data=bytes(file[end:-4]))
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidRequestError(f"the snapshot's header is broken: {error}") from error

    def _check(self, model: LoadedModel) -> None:
        """Raise InvalidRequestError if it was made with another model, or does not fit it."""
        if self.fingerprint != fingerprint(model):
            raise InvalidRequestError(
                f"the snapshot was made with {self.model!r}, in another file or with other "
                f"adapters than {model.config.name!r} now; load that one"
            )
        if len(self.tokens) > model.context_size or len(self.pending) > 1:
            raise InvalidRequestError(
                f"the snapshot has {len(self.tokens)} tokens, and the context takes "
                f"{model.context_size}; load with a larger context_size"
            )
        # a shift needs room after the tokens that it keeps
        if self.discarded and not 0 <= self.n_keep <= min(len(self.tokens), model.context_size - 2):
            raise InvalidRequestError(
                f"the snapshot keeps {self.n_keep} tokens for good, of {len(self.tokens)} in a "
                f"context of {model.context_size}; load with a larger context_size"
            )
        for token in (*self.tokens, *self.pending, *self.discarded):
            model.checked_token(token)


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
