"""Caches of requests that are over, for later ones that begin as they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conversation import Conversation


class PrefixCache:
    """Keeps conversations that nobody goes on with, within a number of bytes.

    A sequence finds the beginning of its prompt in any other of the same model, and shares the
    pages (TokenSequence.use_cached_prefix). So it is enough that they are kept. Those that ended
    first are dropped first.
    """

    def __init__(self, max_bytes: int) -> None:
        """Begin without any.

        Args:
            max_bytes: of the caches, each as large as if it shared nothing.
        """
        self._max_bytes = max_bytes
        self._kept: list[Conversation] = []

    def keep(self, conversation: Conversation) -> None:
        """Keep a conversation, and drop those that do not fit any more, or that begin it."""
        model = conversation.model
        with model.lock:
            if model.is_closed:
                return
            tokens = conversation.tokens
            kept = [
                each
                for each in self._kept
                if each.model is model and each.tokens != tokens[: each.kv_cache_seq_len]
            ]
            kept.append(conversation)
            sizes = [model.executor.cache_bytes(each.kv_cache_seq_len) for each in kept]
            while kept and sum(sizes) > self._max_bytes:
                del kept[0], sizes[0]
            self._kept = kept

    def clear(self) -> None:
        """Drop all."""
        self._kept = []
