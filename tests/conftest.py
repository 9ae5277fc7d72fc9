"""Fixtures that several test modules share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oxillama_web.hub.models import fetch

GOLDEN = Path(__file__).parent / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs the built page, and sorts: that later, slow tests last."""
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: [_has(item, "slow"), _has(item, "browser")])


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct in Q4_1, from the cache ($OXILLAMA_CACHE) or fetched into it."""
    return fetch("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def gemma3_path() -> Path:
    """gemma-3-270m in Q4_K_M, from the cache ($OXILLAMA_CACHE) or fetched into it."""
    return fetch("gemma-3-270m")


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, Any]]:
    """Loads reference values: golden("smollm2-135m-instruct"); golden/README.md explains them."""
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text())


def _has(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None
