"""The WebAssembly kernels' matrix products and attention, run in Chromium, against NumPy."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from gguf_files import FORMAT_BY_NAME
from linear_driver import (
    FLOAT_FORMATS,
    QUANTIZED_FORMATS,
    Weight,
    build,
    operation_row,
    put_scale,
    random_weight,
)
from ops_driver import F16, F32, Q8_0
from paths import HELPERS
from playwright.sync_api import Browser, Page
from test_attention import Case, assert_attention
from test_linear import assert_product, random_input

from oxillama_web.backends.kernels.kv_layout import tile_bytes
from oxillama_web.plan.operations.attention import Attention, KVStore
from oxillama_web.plan.operations.linear import Linear, Quantize

pytest_plugins = ["browser_fixtures"]

SCRIPT = base64.b64encode((HELPERS / "wasm_product.js").read_bytes()).decode()
N_TOKENS = (9, 1, 2, 3, 4)


@pytest.fixture(scope="module", params=list(build.WASM_ISAS))
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pool")
    paths = {path.name: path for path in build.build_pool(folder)}
    return base64.b64encode(paths[f"ox-single-{request.param}.wasm"].read_bytes()).decode()


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Page:
    return browser.new_page()


def multiply(
    page: Page, module: str, weight: Weight, inputs: list[np.ndarray]
) -> list[np.ndarray] | None:
    """The products with each input; None if this processor cannot multiply the format rightly."""
    rows = [operation_row(Linear, dst=1, src=0, weight=0)]
    if weight.format in QUANTIZED_FORMATS.values():
        rows.insert(0, operation_row(Quantize, src=0))
    job = {
        "format": weight.format,
        "operations": base64.b64encode(b"".join(map(bytes, rows))).decode(),
        "nOut": weight.n_out,
        "nIn": weight.n_in,
        "weight": base64.b64encode(weight.content()).decode(),
    }
    jobs = [
        job | {"nTokens": len(x), "input": base64.b64encode(x.tobytes()).decode()} for x in inputs
    ]
    results = page.evaluate(
        """async ([script, module, jobs]) => {
            const { multiply } = await import(`data:text/javascript;base64,${script}`);
            return multiply(module, jobs);
        }""",
        [SCRIPT, module, jobs],
    )
    if results[0] is None:
        return None
    return [
        np.frombuffer(base64.b64decode(result), np.float32).reshape(len(x), -1)
        for result, x in zip(results, inputs, strict=True)
    ]


def assert_all_batches(page: Page, module: str, weight: Weight, x: np.ndarray) -> None:
    """Right for few tokens and for many; of float weights not another bit."""
    results = multiply(page, module, weight, [x[:n] for n in N_TOKENS])
    if results is None:
        assert weight.format in QUANTIZED_FORMATS.values()
        return
    for n, y in zip(N_TOKENS, results, strict=True):
        assert_product(weight, x[:n], y)
        if weight.format in FLOAT_FORMATS.values():
            np.testing.assert_array_equal(y, results[0][:n])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FLOAT_FORMATS, *QUANTIZED_FORMATS])
def test_matches_numpy(blank: Page, module: str, name: str) -> None:
    assert_all_batches(blank, module, random_weight(name, 37, 512), random_input(9, 512))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-7, 2e-5, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("largest_input", [1.0, 1e5])
def test_float16_of_every_size(blank: Page, module: str, size: float, largest_input: float) -> None:
    x = random_input(9, 333)
    x[:, 7] = largest_input
    assert_all_batches(blank, module, random_weight("F16", 23, 333, scale=size), x)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 17, 95, 99])
def test_float16_that_is_no_number(blank: Page, module: str, place: int) -> None:
    clean = random_weight("F16", 21, 100)
    halves = np.frombuffer(clean.content(), np.float16).reshape(21, 100).copy()
    halves[1, place], halves[6, place], halves[20, place] = np.inf, np.nan, -np.inf
    x = np.abs(random_input(9, 100)) + np.float32(0.1)
    inputs = [x[:n] for n in N_TOKENS]
    expected = multiply(blank, module, clean, inputs)
    results = multiply(blank, module, Weight("F16", 21, 100, halves), inputs)
    assert expected and results
    others = [row for row in range(21) if row not in (1, 6, 20)]
    for y, without in zip(results, expected, strict=True):
        assert (y[:, 1] == np.inf).all() and (y[:, 20] == -np.inf).all()
        assert np.isnan(y[:, 6]).all()
        np.testing.assert_array_equal(y[:, others], without[:, others])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q8_0"])
@pytest.mark.parametrize("rare", [0.0, 3e-6, -3e-6, 60000.0])
def test_columns_with_rare_scales(blank: Page, module: str, name: str, rare: float) -> None:
    """Zero and subnormal ones go another way than those around them; all are right."""
    known, rng = FORMAT_BY_NAME[name], np.random.default_rng(0)
    weight = random_weight(name, 48, 512)
    blocks = np.frombuffer(weight.content(), np.uint8).reshape(-1, known.block_bytes).copy()
    columns = np.arange(len(blocks)) % 16
    some = np.isin(columns, (0, 3, 4, 15)) & (rng.random(len(blocks)) < 0.3)
    for which in range(2 if name == "Q4_1" else 1):
        changed = blocks[some]
        put_scale(changed, name, np.full(len(changed), rare), which)
        blocks[some] = changed
    assert_all_batches(blank, module, Weight(name, 48, 512, blocks), random_input(9, 512))


def attend(page: Page, module: str, case: Case, chunks: list[int]) -> np.ndarray:
    """Case.run in a module."""
    kind = {F32: "f32", F16: "f16", Q8_0: "q8_0"}[case.kv_format]
    sizes = {"n_heads": case.n_heads, "scale": float(case.scale), "causal": 1}
    rows = [
        operation_row(KVStore, keys=1, values=2, layer=0),
        operation_row(Attention, dst=3, queries=0, layer=0, **sizes),
    ]
    job = {
        "operations": base64.b64encode(b"".join(map(bytes, rows))).decode(),
        "nHeads": case.n_heads,
        "nKvHeads": case.n_kv_heads,
        "dim": case.k_dim,
        "kvFormat": case.kv_format,
        "tileBytes": tile_bytes(kind, case.k_dim),
        "chunks": chunks,
    } | {name: base64.b64encode(getattr(case, name).tobytes()).decode() for name in "qkv"}
    result = page.evaluate(
        """async ([script, module, job]) => {
            const { attend } = await import(`data:text/javascript;base64,${script}`);
            return attend(module, job);
        }""",
        [SCRIPT, module, job],
    )
    return np.frombuffer(base64.b64decode(result), np.float32).reshape(len(case.q), -1)


@pytest.mark.slow
@pytest.mark.parametrize("kv_format", [F32, F16, Q8_0])
@pytest.mark.parametrize("heads", [(1, 1), (4, 2), (9, 3), (15, 1)])
@pytest.mark.parametrize("dim", [64, 20])
def test_attention(
    blank: Page, module: str, heads: tuple[int, int], dim: int, kv_format: int
) -> None:
    case = Case(150, n_heads=heads[0], n_kv_heads=heads[1], k_dim=dim, kv_format=kv_format)
    whole = attend(blank, module, case, [150])
    assert_attention(case, whole)
    np.testing.assert_array_equal(attend(blank, module, case, [1, 70, 2, 60, *[1] * 17]), whole)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2.0**-60, 2.0**-20, 1024.0, 2.0**100])
def test_attention_of_small_and_large_queries(blank: Page, module: str, size: float) -> None:
    """See query_factor_of in attention.c. Large scores pick one key, or equal ones."""
    case = Case(100, n_heads=3, n_kv_heads=1, k_dim=8, kv_format=F16)
    case.q[:], case.k[:] = np.rint(case.q * 8) * np.float32(size), np.rint(case.k * 8)
    case.scale = np.float32(1)
    for chunks in ([100], [90] + [1] * 10):
        assert_attention(case, attend(blank, module, case, chunks))
