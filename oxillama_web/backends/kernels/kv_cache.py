"""The kernels' keys and values: pages that are allocated as a cache fills."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from ...errors import InvalidRequestError
from .kv_layout import PAGE_TOKENS

if TYPE_CHECKING:
    from .device import Block, Device
    from .kv_layout import CacheLayout
    from .kv_shift import KVShift


class CachePages:
    """Allocates the pages of all caches of a model, and counts those that are held."""

    def __init__(self, device: Device, layout: CacheLayout) -> None:
        self.layout = layout
        self._device = device
        self._held: WeakSet[Block] = WeakSet()

    @property
    def held_bytes(self) -> int:
        """Bytes of the pages that caches refer to; shared ones count once."""
        return len(self._held) * self.layout.page_bytes

    def allocate(self) -> Block:
        """Return a zeroed page. Raises OutOfMemoryError."""
        page = self._device.allocate(self.layout.page_bytes)
        self._held.add(page)
        return page

    def copy(self, page: Block) -> Block:
        """Return a page with the same content. Raises OutOfMemoryError."""
        copy = self.allocate()
        copy.copy(page)
        return copy


class PagedKVCache:
    """The keys and values of one sequence; see `KeysAndValues`.

    Forks share whole pages. A cache copies a shared page before it writes to it. A page is freed
    with the last cache that refers to it.
    """

    def __init__(self, memory: CachePages, shift: KVShift) -> None:
        """Begin an empty cache.

        Args:
            memory: allocates its pages.
            shift: moves positions in them.
        """
        self.length = 0
        self.pages: list[Block] = []
        # so many pages, from the first, may belong to other caches too
        self._n_shared = 0
        self._memory = memory
        self._shift = shift

    def truncate(self, length: int) -> None:
        """Drop positions from `length` on, and free the pages after it."""
        self.length = length
        del self.pages[-(-length // PAGE_TOKENS) :]
        self._n_shared = min(self._n_shared, len(self.pages))

    def reserve(self, length: int) -> None:
        """Make room for `length` positions; those after the cache's own may then be written."""
        self._unshare_pages(self.length // PAGE_TOKENS)
        while len(self.pages) < -(-length // PAGE_TOKENS):
            self.pages.append(self._memory.allocate())

    @property
    def can_shift(self) -> bool:
        """See `KeysAndValues.can_shift`."""
        return self._shift.is_possible

    def shift(self, start: int, count: int) -> None:
        """See `KeysAndValues.shift`."""
        self._unshare_pages(start // PAGE_TOKENS)
        self._shift.run(self.pages, start + count, self.length, count)
        self.truncate(self.length - count)

    def fork(self, length: int) -> PagedKVCache:
        """See `KeysAndValues.fork`: whole pages are shared, and the last one is copied."""
        n_whole, rest = divmod(length, PAGE_TOKENS)
        other = PagedKVCache(self._memory, self._shift)
        other.length = length
        other.pages = self.pages[:n_whole]
        if rest:
            other.pages.append(self._memory.copy(self.pages[n_whole]))
        other._n_shared = n_whole
        self._n_shared = max(self._n_shared, n_whole)
        return other

    @property
    def layout(self) -> str:
        """See `KeysAndValues.layout`."""
        return str(self._memory.layout)

    def export(self) -> bytes:
        """See `KeysAndValues.export`: the pages, one after the other."""
        n_pages = -(-self.length // PAGE_TOKENS)
        return b"".join(page.read(0, page.n_bytes) for page in self.pages[:n_pages])

    def restore(self, data: bytes, length: int) -> None:
        """See `KeysAndValues.restore`."""
        n_pages, size = -(-length // PAGE_TOKENS), self._memory.layout.page_bytes
        if len(data) != n_pages * size:
            raise InvalidRequestError(f"{len(data)} bytes are no cache of {length} tokens")
        pages = [self._memory.allocate() for _ in range(n_pages)]
        for index, page in enumerate(pages):
            page.write(0, memoryview(data)[index * size : (index + 1) * size])
        self.pages, self.length, self._n_shared = pages, length, 0

    def _unshare_pages(self, first: int) -> None:
        """Copy shared pages from that one on: they will be written."""
        # after an interrupted cut there may be fewer pages than were shared
        for index in range(first, min(self._n_shared, len(self.pages))):
            self.pages[index] = self._memory.copy(self.pages[index])
        self._n_shared = min(self._n_shared, first)
