"""The pooling of rerankers' rows in C, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from linear_driver import libraries, load
from ops_driver import KernelPlan

from oxillama_web.plan.operations.pooling import MeanRows


@pytest.mark.parametrize("variant", libraries())
def test_mean_rows(variant: str) -> None:
    """The mean of the sequence for each row that is asked for; test_rerank.py has several."""
    library, x = load(variant), np.random.default_rng(0).normal(0, 1, (9, 33)).astype(np.float32)
    for outputs in ([8], [0, 3, 8], list(range(9)), []):
        plan = KernelPlan()
        src, dst = plan.filled(x), plan.buffer(9, 33, "output")
        plan.op(MeanRows, src=src, dst=dst)
        assert plan.check(library) == 0
        assert plan.run(library, 9, outputs=outputs) == 0
        expected = np.repeat(x.mean(axis=0, dtype=np.float64)[None], len(outputs), axis=0)
        np.testing.assert_allclose(plan.read(dst, len(outputs)), expected, rtol=0, atol=1e-6)
        assert not plan.read(dst)[len(outputs) :].any()
