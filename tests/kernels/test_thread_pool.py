"""The pool of native threads: same results, no deadlock, and no collapse where cores are taken."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from linear_driver import EVERY_PASS, Block, libraries, load
from ops_driver import KernelPlan, Pool

from oxillama_web.backends.kernels import abi
from oxillama_web.plan.operations.elementwise import Add, Scale
from oxillama_web.plan.operations.norms import RMSNorm

WIDTH = 96
ALL_BUSY = "import time\nend = time.time() + 120\nwhile time.time() < end: pass"


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return load(libraries()[-1])


class Chain:
    """Operations that each need what all threads did in the one before, ready to run many times."""

    def __init__(self, library: ctypes.CDLL, n_ops: int, width: int = WIDTH) -> None:
        self._library = library
        plan = self._plan = KernelPlan()
        rng = np.random.default_rng(0)
        self._start = rng.normal(0, 1, (1, width)).astype(np.float32)
        self._buffers = [plan.filled(self._start), plan.buffer(1, width)]
        weight = plan.vector(np.ones(width))
        for i in range(n_ops):
            source, target = self._buffers[i % 2], self._buffers[(i + 1) % 2]
            if i % 4 == 3:  # keeps the values in bounds
                norm = {"weight": weight, "group": width, "eps": 1e-5}
                plan.op(RMSNorm, src=source, dst=target, **norm)
            else:
                plan.op(Add, a=source, b=source, dst=target, scale=1.0)
        assert plan.check(library) == 0
        self._model, self._batch = plan.model(), plan.batch(1)
        self._scratch = Block(4096)
        self._result = self._buffers[n_ops % 2]

    def run(self, pool: Pool | None = None) -> np.ndarray:
        self._plan.write(self._buffers[0], self._start)
        arguments = [
            *[ctypes.byref(self._model), ctypes.byref(self._batch)],
            *[ctypes.c_void_p(self._scratch.address), ctypes.c_uint64(4096)],
        ]
        if pool:
            assert self._library.ox_pool_forward(pool.address, *arguments) == 0
        else:
            assert self._library.ox_forward(*arguments) == 0
        return self._plan.read(self._result)

    def seconds(self, pool: Pool | None = None, rounds: int = 7) -> float:
        """The least time of several."""
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            self.run(pool)
            times.append(time.perf_counter() - start)
        return min(times)


@contextmanager
def busy_cores(n: int) -> Iterator[None]:
    """Other processes that never rest."""
    processes = [subprocess.Popen([sys.executable, "-c", ALL_BUSY]) for _ in range(n)]
    try:
        time.sleep(0.1)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4])
def test_thousands_of_short_passes(library: ctypes.CDLL, n_threads: int) -> None:
    for n_ops in (1, 2, 5):
        chain = Chain(library, n_ops)
        expected = chain.run().copy()
        with Pool(library, n_threads) as pool:
            for _ in range(1000):
                np.testing.assert_array_equal(chain.run(pool), expected)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4])
@pytest.mark.parametrize("capacity", [1, 4])
def test_buffers_of_each_thread_its_own(
    library: ctypes.CDLL, capacity: int, n_threads: int
) -> None:
    """They need no barriers; threads that have no row of their own share the work and wait."""
    width = 24
    plan = KernelPlan()
    x = np.random.default_rng(1).normal(0, 1, (1, width)).astype(np.float32)
    shared, result = plan.filled(x), plan.buffer(1, width)
    a, b = (plan.filled(np.full((capacity, width), np.nan, np.float32)) for _ in range(2))
    plan.buffers[a].replicated = plan.buffers[b].replicated = 1
    weight = plan.vector(np.arange(width))
    norm = {"weight": weight, "group": width, "eps": 1e-5}
    plan.op(Add, a=shared, b=shared, dst=a, scale=0.5, barrier=abi.BARRIER_MANY)
    plan.op(RMSNorm, src=a, dst=b, **norm, barrier=abi.BARRIER_MANY)
    plan.op(Add, a=a, b=b, dst=a, scale=2.0, barrier=abi.BARRIER_MANY)
    plan.op(Add, a=a, b=b, dst=result, scale=1.0, barrier=abi.BARRIER_MANY)
    plan.op(Scale, src=result, dst=result, factor=0.5, barrier=EVERY_PASS)
    assert plan.check(library) == 0
    assert plan.run(library, 1) == 0
    expected = plan.read(result).copy()
    assert np.isfinite(expected).all()
    with Pool(library, n_threads) as pool:
        for _ in range(300):
            plan.write(result, np.zeros((1, width)))
            assert plan.run(library, 1, pool=pool) == 0
            np.testing.assert_array_equal(plan.read(result), expected)


def test_pauses_of_any_length_between_passes(library: ctypes.CDLL) -> None:
    """Workers are looking for work, about to sleep, or asleep when it comes."""
    chain = Chain(library, 3)
    expected = chain.run().copy()
    with Pool(library, 3) as pool:
        for microseconds in [*range(0, 200, 2), 500, 1000, 10_000, 50_000]:
            time.sleep(microseconds * 1e-6)
            np.testing.assert_array_equal(chain.run(pool), expected)


def test_more_threads_than_cores_and_work(library: ctypes.CDLL) -> None:
    chain = Chain(library, 20, width=3)
    expected = chain.run().copy()
    with Pool(library, 16) as pool:
        for _ in range(20):
            np.testing.assert_array_equal(chain.run(pool), expected)


def test_two_pools_at_once(library: ctypes.CDLL) -> None:
    chains = [Chain(library, n_ops) for n_ops in (3, 4)]
    expected = [chain.run().copy() for chain in chains]
    with Pool(library, 2) as first, Pool(library, 3) as second:
        for _ in range(200):
            for chain, pool, want in zip(chains, (first, second), expected, strict=True):
                np.testing.assert_array_equal(chain.run(pool), want)


def test_many_pools_one_after_the_other(library: ctypes.CDLL) -> None:
    chain = Chain(library, 2)
    for n_threads in range(1, 60):
        with Pool(library, n_threads % 5 + 1) as pool:
            if n_threads % 3:
                chain.run(pool)


def test_impossible_numbers_of_threads(library: ctypes.CDLL) -> None:
    library.ox_pool_create.restype = ctypes.c_void_p
    assert library.ox_pool_create(0) is None
    assert library.ox_pool_create(2**32 - 1) is None
    library.ox_pool_destroy(ctypes.c_void_p(None))


def test_a_refused_batch_leaves_the_pool_usable(library: ctypes.CDLL) -> None:
    plan = KernelPlan()
    x = plan.filled(np.ones((1, 8), np.float32))
    plan.op(Add, a=x, b=x, dst=x, scale=1.0)
    chain = Chain(library, 3)
    expected = chain.run().copy()
    with Pool(library, 2) as pool:
        for _ in range(50):
            assert plan.run(library, 2, pool=pool) == 3
            np.testing.assert_array_equal(chain.run(pool), expected)


def test_an_idle_pool_sleeps(library: ctypes.CDLL) -> None:
    chain = Chain(library, 5)
    with Pool(library, 4) as pool:
        chain.run(pool)
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.05


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("n_busy", [1, os.cpu_count() or 1])
def test_taken_cores_slow_it_down_but_not_to_a_halt(library: ctypes.CDLL, n_busy: int) -> None:
    """300 barriers, each of which some thread comes to late: waiting by looking alone, or by giving
    one's core to whoever wants it, would take a hundred times as long as one thread."""
    n_cores = os.cpu_count() or 1
    chain = Chain(library, 300, width=30_000)
    expected = chain.run().copy()
    with busy_cores(n_busy):
        alone = chain.seconds()
        for n_threads in (n_cores, n_cores + 1):
            with Pool(library, n_threads) as pool:
                np.testing.assert_array_equal(chain.run(pool), expected)
                together = chain.seconds(pool)
            assert together < 10 * alone + 0.02
