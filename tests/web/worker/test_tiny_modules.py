"""Equal tiny modules are compiled once while Python starts: web/worker/tiny_modules.js."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

# a module that holds a function type of the result `code`, and `n` bytes that say nothing
SCRIPT = """async () => {
    const { sharingTinyModules } = await import("./worker/tiny_modules.js");
    const { Module } = WebAssembly;
    const make = (code, n = 0) => new WebAssembly.Module(Uint8Array.of(
        0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, code, 0, n + 1, 0, ...Array(n).fill(0),
    ));
    const found = {};
    await sharingTinyModules(async () => {
        const module = make(127);
        found.isModule = module instanceof WebAssembly.Module && module instanceof Module;
        found.equal = make(127) === module;
        found.other = make(126) === module;
        found.larger = make(127, 100) === make(127, 100);
        try {
            new WebAssembly.Module(Uint8Array.of(1, 2, 3));
        } catch (error) {
            found.error = error instanceof WebAssembly.CompileError;
        }
    });
    found.afterwards = make(127) === make(127);
    await sharingTinyModules(() => Promise.reject(new Error("no"))).catch(() => {});
    found.restored = WebAssembly.Module === Module;
    return found;
}"""


def test_equal_tiny_modules_are_one(page: Page, url: str) -> None:
    page.goto(url + "manifest.json")
    assert page.evaluate(SCRIPT) == {
        "isModule": True,
        "equal": True,
        "other": False,
        "larger": False,
        "error": True,
        "afterwards": False,
        "restored": True,
    }
