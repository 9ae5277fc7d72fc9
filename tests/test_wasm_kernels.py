"""The WebAssembly kernels' matrix products, run in Chromium, against NumPy."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from linear_driver import FLOAT_FORMATS, QUANTIZED_FORMATS, Weight, build, random_weight
from playwright.sync_api import Browser, Page
from test_linear import assert_product, random_input

pytest_plugins = ["browser_fixtures"]

SCRIPT = base64.b64encode((Path(__file__).parent / "wasm_product.js").read_bytes()).decode()
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
    job = {
        "format": weight.format,
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
        np.array(bits, np.uint32).view(np.float32).reshape(len(x), -1)
        for bits, x in zip(results, inputs, strict=True)
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
