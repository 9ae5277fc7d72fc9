"""How the kernels' cache lays out keys and values: pages of 256 positions, all layers in each.

Keys come before values. Within a layer, the positions of one head are consecutive, because
attention reads them in this order (struct ox_kv_layer in kernels_c/ox.h).

    page 0: positions 0 to 255                                   page 1: positions 256 to 511 ...
    [layer 0: keys of head 0, 1, ... | values of head 0, 1, ...][layer 1: ...] ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...gguf.types import GGMLType
from ..recurrent import StateLayout
from . import abi
from .memory import align

if TYPE_CHECKING:
    from ...config import KVCacheType
    from ...plan.plan import Plan

PAGE_TOKENS = 256
_FORMATS = {"f32": GGMLType.F32, "f16": GGMLType.F16, "q8_0": GGMLType.Q8_0}
_KEY_TILE = 64


class CacheLayout:
    """Where each layer's keys and values are in a page.

    Attributes:
        format: the number of the values' format (kv_format in kernels_c/ox.h).
        layers: the table of the layers, ox_kv_layer.
        page_bytes: the size of a page.
        recurrent: of the recurrent states, which are no part of a page.
        states: the table of those, ox_state.
    """

    def __init__(self, plan: Plan, kind: KVCacheType) -> None:
        self.format = int(_FORMATS[kind])
        self.layers = (abi.KVLayer * len(plan.kv_layers))()
        offset = 0
        for row, layer in zip(self.layers, plan.kv_layers, strict=True):
            n_tiles = layer.n_heads * PAGE_TOKENS // _KEY_TILE
            row.n_heads, row.k_dim, row.v_dim = layer.n_heads, layer.k_dim, layer.v_dim
            row.k_offset = offset
            row.v_offset = row.k_offset + align(n_tiles * tile_bytes(kind, layer.k_dim))
            offset = row.v_offset + align(n_tiles * tile_bytes(kind, layer.v_dim))
        self.page_bytes = offset
        self.recurrent = StateLayout(plan)
        self.states = (abi.State * len(plan.states))(
            *(
                abi.State(offset=offset, rows=state.rows, width=state.width)
                for state, offset in zip(plan.states, self.recurrent.offsets, strict=True)
            )
        )

    def __str__(self) -> str:
        """Return the name of the layout; see `KVCache.layout`."""
        sizes = ",".join(f"{row.n_heads}x{row.k_dim}x{row.v_dim}" for row in self.layers)
        return f"pages {PAGE_TOKENS} format {self.format} layers {sizes}"


def tile_bytes(kind: KVCacheType, dim: int) -> int:
    """Return the bytes of 64 positions of one head with `dim` values: kernels_c/ops/kv_cache.h."""
    if kind == "q8_0":
        return _KEY_TILE * (dim + 2 * (-(-dim // 32)))
    return _KEY_TILE * dim * (4 if kind == "f32" else 2)
