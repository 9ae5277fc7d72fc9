"""Where a model's bytes come from, in Chromium: hosts of all kinds, files in parts, connections."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from browser_helpers import TINY, call, serving
from gguf_files import split_model
from model_host import LARGE, Host
from playwright.sync_api import Browser, Page

pytest_plugins = ["browser_fixtures"]

ANSWER = """
    const answer = async (model) => {
        const llm = await OxiLlama.load({ model });
        let text = "";
        const options = { temperature: 0, repetitionPenalty: 1, maxTokens: 12 };
        for await (const piece of llm.generate("abc", options)) text += piece;
        llm.dispose();
        return text;
    };
"""

DOWNLOAD = """
    const { Download } = await import("./storage/download.js");
    const started = performance.now();
    const opened = await Download.open(address, new AbortController().signal);
    const bytes = new Uint8Array(24 << 20);
    let written = 0;
    const end = await opened.read((chunk, offset) => {
        bytes.set(chunk, offset);
        written += chunk.length;
    });
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    const hex = Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, "0"));
    const seconds = (performance.now() - started) / 1000;
    return { end, written, seconds, hex: hex.join("") };
"""


@pytest.fixture(scope="session")
def parts(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return split_model(tiny_models / TINY, tmp_path_factory.mktemp("parts"), 3)


@pytest.fixture(scope="session")
def host(tiny_models: Path, parts: list[Path]) -> Iterator[str]:
    Host.files = {path.name: path.read_bytes() for path in [tiny_models / TINY, *parts]}
    Host.files["large"] = LARGE
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Host)) as address:
        yield address


@pytest.fixture
def host_page(browser: Browser, url: str) -> Iterator[Page]:
    """The page without its policy, which lets only its workers talk to other hosts."""
    Host.asked.clear()
    Host.most_open = 0
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


@pytest.mark.parametrize("kind", ["plain", "zipped", "chunked", "breaking", "ranged"])
def test_hosts_of_all_kinds_give_the_same_answer(host_page: Page, host: str, kind: str) -> None:
    result = call(
        host_page,
        ANSWER + "return { here: await answer(tinyUrl), there: await answer(address) };",
        address=f"{host}{kind}/{TINY}",
    )
    assert result.get("code") is None, result
    assert result["here"] == result["there"] != ""


def test_a_model_in_parts_from_the_first_ones_address(
    host_page: Page, host: str, parts: list[Path]
) -> None:
    result = call(
        host_page,
        ANSWER
        + """
        const bytes = await Promise.all(
            names.map(async (name) => (await fetch(address + "plain/" + name)).arrayBuffer()));
        const files = bytes.map((buffer, index) => new File([buffer], names[index]));
        return [
            await answer(tinyUrl),
            await answer(address + "ranged/" + names[0]),
            await answer(address + "chunked/" + names[0]),
            await answer(names.map((name) => address + "plain/" + name)),
            await answer([files[2], files[0], files[1]]),
            await answer([...bytes.map((buffer) => new Blob([buffer]))]),
            await answer([bytes[0], files[1], new Blob([bytes[2]]).stream()]),
        ];
        """,
        address=host,
        names=[path.name for path in parts],
    )
    assert isinstance(result, list), result
    assert len(set(result)) == 1


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("address + names[1]", "invalid_request", "is part 2 of a model; give the first one"),
        ("[address + names[0]]", None, ""),
        ("[new Blob([bytes])]", "bad_model", "in 3 files, and 1 of them came"),
        ("[new Blob([bytes]), new Blob([bytes])]", "bad_model", "in 3 files, and 2 of them came"),
        ("[]", "invalid_request", "empty list"),
        ("lockedStream", "invalid_request", "read by someone else"),
        ("new Blob(['text']).stream().pipeThrough(new TextDecoderStream())", "network",
         "Uint8Array"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_told_in_words(
    host_page: Page, host: str, parts: list[Path], model: str, code: str | None, words: str
) -> None:
    result = call(
        host_page,
        ANSWER
        + f"""
        const bytes = await (await fetch(address + names[0])).arrayBuffer();
        const lockedStream = new Blob([bytes]).stream();
        lockedStream.getReader();
        return {{ text: await answer({model}) }};
        """,
        address=f"{host}ranged/",
        names=[path.name for path in parts],
    )
    assert result.get("code") == code, result
    assert words in result.get("message", "")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fewest", "most"), [("slow", 3, 4), ("shared", 1, 3)])
def test_more_connections_where_that_is_faster(
    host_page: Page, host: str, kind: str, fewest: int, most: int
) -> None:
    result = call(host_page, DOWNLOAD, address=f"{host}{kind}/large")
    assert result.get("code") is None, result
    assert result["end"] == result["written"] == len(LARGE)
    assert "hex" in result, result
    assert result["hex"] == hashlib.sha256(LARGE).hexdigest()
    assert fewest <= Host.most_open <= most
    # one connection alone takes 6.3 and 4.2 seconds
    assert result["seconds"] < (4.5 if kind == "slow" else 6)


def test_a_fast_host_is_asked_once(host_page: Page, host: str) -> None:
    result = call(host_page, DOWNLOAD, address=f"{host}ranged/large")
    assert "hex" in result, result
    assert result["hex"] == hashlib.sha256(LARGE).hexdigest()
    assert Host.asked == ["ranged/large bytes=0-"]
