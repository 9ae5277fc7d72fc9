"""The npm package: its content, its types, and projects of two bundlers, opened in Chromium."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from browser_helpers import LOAD_TIMEOUT_MS, TINY, serving
from paths import ROOT
from playwright.sync_api import Browser, expect
from serve import Handler, make_server

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.browser]

MODULES = ROOT / "node_modules"
BUNDLERS = {"vite": "vite/bin/vite.js build", "webpack": "webpack-cli/bin/cli.js"}
CSP = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'"
SAMPLE = """
import { OxiLlama, OxiLlamaError } from "oxillama-web";
import { isolatePage } from "oxillama-web/isolation";

const isolated: boolean = await isolatePage();
const llm: OxiLlama = await OxiLlama.load({ model: "a.gguf", threads: isolated ? 2 : 1 });
let text = "";
for await (const piece of llm.chat([{ role: "user", content: "a" }], { topK: 3, stop: ["b"] })) {
  text += piece;
}
const vectors: number[][] = await llm.embed(["a"], { pooling: "mean" });
const bytes: Uint8Array = await llm.saveConversation();
const tokens: number = llm.stats?.tokens ?? vectors.length + bytes.length;
const error: string = new OxiLlamaError({ code: "network", message: "m" }).code;
llm.dispose();
export { error, text, tokens };
"""


@pytest.fixture(scope="module")
def package(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """node_modules/oxillama-web in a folder of its own."""
    out = tmp_path_factory.mktemp("npm") / "node_modules" / "oxillama-web"
    subprocess.run(
        [sys.executable, ROOT / "tools" / "make_npm.py", "--site", site, "--out", out], check=True
    )
    return out


@pytest.fixture(scope="module")
def serve_strictly(tiny_models: Path) -> Iterator[object]:
    """Serves a folder with a policy that forbids all but what the documentation allows."""

    def strict(folder: Path) -> ThreadingHTTPServer:
        server = make_server(folder, tiny_models)
        handler = server.RequestHandlerClass
        factory = handler.func if hasattr(handler, "func") else handler

        class Strict(factory):  # type: ignore[misc, valid-type]
            def end_headers(self) -> None:
                self.send_header("Content-Security-Policy", CSP)
                super().end_headers()

        keywords = handler.keywords if hasattr(handler, "keywords") else {}

        def make(*args: object) -> Handler:
            return Strict(*args, **keywords)

        server.RequestHandlerClass = make  # type: ignore[assignment]
        return server

    yield strict


def test_the_package_holds_what_its_description_names(package: Path) -> None:
    description = json.loads((package / "package.json").read_text())
    for entry in description["exports"].values():
        for path in [entry] if isinstance(entry, str) else entry.values():
            assert (package / path).is_file(), path
    assert (package / description["bin"]["oxillama-web"]).is_file()
    listed = subprocess.run(
        ["npm", "pack", "--dry-run", "--json", "--silent"],
        cwd=package, check=True, capture_output=True, text=True,
    )  # fmt: skip
    [packed] = json.loads(listed.stdout)
    files = {one["path"] for one in packed["files"]}
    assert {"oxillama.js", "worker.js", "README.md", "LICENSE", "integrity.json"} <= files
    assert packed["unpackedSize"] < 40e6
    assert not [name for name in files if name.endswith(".gguf")]


def test_integrity_hashes_are_those_of_the_files(package: Path) -> None:
    hashes = json.loads((package / "integrity.json").read_text())
    files = {p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()}
    assert set(hashes) == files - {"integrity.json"}
    for name, integrity in hashes.items():
        digest = hashlib.sha384((package / name).read_bytes()).digest()
        assert integrity == "sha384-" + base64.b64encode(digest).decode()


def test_the_declarations_compile_in_a_strict_project(package: Path) -> None:
    project = package.parent.parent
    options = (
        "--noEmit --strict --target ES2023 --module ESNext --moduleResolution Bundler "
        "--lib ES2023,DOM,DOM.AsyncIterable sample.ts"
    )

    def compiles(source: str) -> str:
        (project / "sample.ts").write_text(source)
        tsc = ["node", MODULES / "typescript" / "bin" / "tsc", *options.split()]
        return subprocess.run(tsc, cwd=project, capture_output=True, text=True, check=False).stdout

    assert compiles(SAMPLE) == ""
    assert "'string' is not assignable" in compiles(SAMPLE.replace("topK: 3", 'topK: "3"'))
    assert "topQ" in compiles(SAMPLE.replace("topK: 3", "topQ: 3"))


@pytest.mark.parametrize("bundler", BUNDLERS)
def test_a_sample_project_installs_the_package_that_is_built_here(bundler: str) -> None:
    folder = ROOT / "examples" / "web" / bundler
    source = json.loads((folder / "package.json").read_text())["dependencies"]["oxillama-web"]
    assert (folder / source.removeprefix("file:")).resolve() == ROOT / "build" / "npm"


@pytest.mark.parametrize("bundler", BUNDLERS)
def test_a_sample_project_is_built_and_answers(
    bundler: str, package: Path, browser: Browser, serve_strictly: object
) -> None:
    project = package.parent.parent / bundler
    shutil.copytree(ROOT / "examples" / "web" / bundler, project)
    # what npm would install; the bundler's own modules are found from its real path
    subprocess.run(["node", package / "copy.mjs", "public/oxillama"], cwd=project, check=True)
    command = ["node", MODULES / BUNDLERS[bundler].split()[0], *BUNDLERS[bundler].split()[1:]]
    built = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    folder = project / ("dist" if bundler == "vite" else "public")
    with serving(serve_strictly(folder)) as address:  # type: ignore[operator]
        page = browser.new_page()
        uncaught: list[str] = []
        page.on("pageerror", lambda error: uncaught.append(str(error)))
        page.on("console", lambda m: uncaught.append(m.text) if m.type == "error" else None)
        page.goto(f"{address}?model=models/{TINY}")
        expect(page).to_have_title("done", timeout=LOAD_TIMEOUT_MS)
        assert page.locator("#answer").text_content()
        page.close()
    assert [text for text in uncaught if "favicon" not in text and "404" not in text] == []
