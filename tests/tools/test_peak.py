"""The limit of prefill (bench/peak.py): no product is left out, on any instruction set."""

from __future__ import annotations

import pytest
from linear_driver import build, libraries

from bench import peak

# the widest vector has 64 bytes, no core starts more than three such products a cycle, and none
# has more than 6.5 GHz
MOST_A_SECOND = {"portable": 32 * 3 * 6.5e9, "avx2": 32 * 3 * 6.5e9, "neon": 16 * 4 * 6.5e9}
MOST = 64 * 3 * 6.5e9


@pytest.mark.parametrize(
    "isa", [name for name in libraries() if name in build.NATIVE_ISAS[build.machine()]]
)
def test_no_product_is_left_out(monkeypatch: pytest.MonkeyPatch, isa: str) -> None:
    monkeypatch.setenv("OXILLAMA_KERNELS", isa)
    monkeypatch.setattr(peak, "ROUNDS", 1 << 14)
    assert 1e8 < peak.native_peak() < MOST_A_SECOND.get(isa, MOST)
