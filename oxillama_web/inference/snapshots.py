"""A conversation's cache outside of the model: kept, written to a file, and restored.

The file: b"OXKV", the version and the length of the header (uint32, little-endian), the header
(JSON: the fields of KVSnapshot but its data), the data, and the CRC-32 of all of that.
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

VERSION = 3
_READABLE = (2, 3)  # version 2 has no forgotten tokens
_MAGIC = b"OXKV"


@dataclass(frozen=True, slots=True)
class KVSnapshot:
    """What a conversation needs to go on without reading its text again.

    Attributes:
        model: the model's name.
        fingerprint: of what the model's file says of itself, of samples of all weights, and of the
            adapters that were applied.
        layout: how `data` is laid out (KVCache.layout).
        tokens, pending: as in Conversation.
        data: keys and values (KVCache.export).
        forgotten: tokens that the context was too full for.
        n_kept: how many of `tokens` stood before those.
    """

    model: str
    fingerprint: str
    layout: str
    tokens: tuple[int, ...]
    pending: tuple[int, ...]
    data: bytes
    forgotten: tuple[int, ...] = ()
    n_kept: int = 0

    def to_bytes(self) -> bytes:
        """The snapshot as a file."""
        names = ("model", "fingerprint", "layout", "tokens", "pending", "forgotten", "n_kept")
        header = json.dumps({name: getattr(self, name) for name in names}).encode()
        sizes = VERSION.to_bytes(4, "little") + len(header).to_bytes(4, "little")
        content = b"".join((_MAGIC, sizes, header, self.data))
        return content + zlib.crc32(content).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, file: bytes) -> KVSnapshot:
        """Reads what `to_bytes` has written.

        Raises:
            InvalidRequestError: it is no snapshot, damaged, or of another version.
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
            raise InvalidRequestError("the snapshot is damaged: its checksum does not fit")
        end = 12 + int.from_bytes(file[8:12], "little")
        try:
            header = {"forgotten": (), "n_kept": 0, **json.loads(file[12:end])}
            for name in ("tokens", "pending", "forgotten"):
                header[name] = tuple(map(int, header[name]))
            header["n_kept"] = int(header["n_kept"])
            return cls(**header, data=bytes(file[end:-4]))
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidRequestError(f"the snapshot's header is broken: {error}") from error

    def check(self, model: LoadedModel) -> None:
        """Raises InvalidRequestError if it was made with another model, or does not fit it."""
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
        # what is forgotten next stands behind those that are kept
        if self.forgotten and not 0 <= self.n_kept <= min(len(self.tokens), model.context_size - 2):
            raise InvalidRequestError(
                f"the snapshot keeps {self.n_kept} tokens for good, of {len(self.tokens)} in a "
                f"context of {model.context_size}; load with a larger context_size"
            )
        for token in (*self.tokens, *self.pending, *self.forgotten):
            model.checked_token(token)


def fingerprint(model: LoadedModel) -> str:
    """Hex digest of what the model's file says of itself, its weights and its adapters."""
    from dataclasses import replace

    # the size of the context is the caller's choice
    parts: list[object] = [replace(model.config, context_size=0), model.chat_template]
    parts += [(t.name, t.shape, t.format) for t in model.tensors.values()]
    parts += model.weight_samples()
    parts += [
        (lora.adapter.name, lora.adapter.weights, lora.adapter.alpha, lora.scale)
        for lora in model.lora_stack
    ]
    return sha256(repr(parts).encode()).hexdigest()
