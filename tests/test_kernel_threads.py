"""The pool of native threads: many short passes, busy cores, and pools that come and go."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from linear_driver import SANITIZE, libraries, load
from ops_driver import KernelPlan, Pool

from oxillama_web.executors import abi

WIDTH, BAD_BATCH = 48, 3
N_BARRIERS = 12


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return load(libraries()[-1])


@pytest.fixture
def busy_cores() -> Iterator[None]:
    """Something else wants every core."""
    command = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


class Chain:
    """Small operations, each of which reads what other threads wrote just before."""

    def __init__(self, n_tokens: int) -> None:
        self.n_tokens = n_tokens
        rng = np.random.default_rng(n_tokens)
        self.plan = KernelPlan()
        self.a = self.plan.filled(rng.normal(0, 1, (n_tokens, WIDTH)))
        self.b = self.plan.filled(rng.normal(0, 1, (n_tokens, WIDTH)))
        weight = self.plan.vector(rng.normal(0, 1, WIDTH))
        for i in range(N_BARRIERS // 2):
            src, dst = (self.a, self.b) if i % 2 else (self.b, self.a)
            self.plan.op(abi.GLU, src=(src, dst), dst=dst, i=(i % 2,))
            # a whole row at a time: other shares than those of single values
            self.plan.op(abi.RMS_NORM, src=(dst,), dst=src, tensor=(weight,), i=(WIDTH,), f=(1e-5,))
        self._start = self.plan.read(self.a).copy(), self.plan.read(self.b).copy()

    def run(self, library: ctypes.CDLL, pool: Pool | None = None) -> np.ndarray:
        self.plan.write(self.a, self._start[0])
        self.plan.write(self.b, self._start[1])
        assert self.plan.run(library, self.n_tokens, pool=pool) == 0
        return np.concatenate([self.plan.read(self.a), self.plan.read(self.b)])


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads there")


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4, 16])
def test_many_short_passes(library: ctypes.CDLL, n_threads: int) -> None:
    chains = [Chain(n_tokens) for n_tokens in (1, 2, 5)]
    expected = [chain.run(library) for chain in chains]
    with Pool(library, n_threads) as pool:
        for _ in range(10 if SANITIZE or n_threads > 4 else 300):
            for chain, want in zip(chains, expected, strict=True):
                np.testing.assert_array_equal(chain.run(library, pool), want)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("n_threads", [2, 4])
def test_passes_go_on_where_cores_are_busy(
    library: ctypes.CDLL, busy_cores: None, n_threads: int
) -> None:
    """A thread that waits lets others run: a barrier costs some turns of the scheduler at most."""
    chain = Chain(5)
    expected = chain.run(library)
    n_passes, seconds_for_a_barrier = 40, 0.02
    with Pool(library, n_threads) as pool:
        start = time.monotonic()
        for _ in range(n_passes):
            np.testing.assert_array_equal(chain.run(library, pool), expected)
        elapsed = time.monotonic() - start
    assert elapsed < n_passes * (N_BARRIERS + 1) * seconds_for_a_barrier


def test_passes_after_a_pause(library: ctypes.CDLL) -> None:
    """Workers that sleep are woken, whether they have just fallen asleep or long ago."""
    chain = Chain(3)
    expected = chain.run(library)
    with Pool(library, 3) as pool:
        for pause in [0.0, 1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3] * 20:
            time.sleep(pause)
            np.testing.assert_array_equal(chain.run(library, pool), expected)


def test_a_refused_pass_leaves_the_pool_usable(library: ctypes.CDLL) -> None:
    chain = Chain(3)
    expected = chain.run(library)
    with Pool(library, 3) as pool:
        for _ in range(50):
            assert chain.plan.run(library, 4, pool=pool) == BAD_BATCH
            np.testing.assert_array_equal(chain.run(library, pool), expected)


def test_pools_side_by_side(library: ctypes.CDLL) -> None:
    chain = Chain(4)
    expected = chain.run(library)
    with Pool(library, 2) as first, Pool(library, 3) as second:
        for pool in [first, second, second] * 30:
            np.testing.assert_array_equal(chain.run(library, pool), expected)


@needs_proc
def test_pools_come_and_go(library: ctypes.CDLL) -> None:
    """Used or not, a pool ends all its threads."""
    chain = Chain(2)
    expected = chain.run(library)
    before = count_threads()
    for i in range(150):
        n_threads = 1 + i % 4
        with Pool(library, n_threads) as pool:
            assert count_threads() == before + n_threads - 1
            if i % 3:
                np.testing.assert_array_equal(chain.run(library, pool), expected)
        assert count_threads() == before


@pytest.mark.parametrize("n_threads", [0, 1025, 2**32 - 1])
def test_pools_that_cannot_be(library: ctypes.CDLL, n_threads: int) -> None:
    library.ox_pool_create.restype = ctypes.c_void_p
    assert library.ox_pool_create(ctypes.c_uint32(n_threads)) is None
    library.ox_pool_destroy(None)


@needs_proc
def test_idle_workers_sleep(library: ctypes.CDLL) -> None:
    with Pool(library, 4) as pool:
        Chain(2).run(library, pool)
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.1
