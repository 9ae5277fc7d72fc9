"""The core of the page and of its JavaScript module in Firefox, beside Chromium and CPython."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser_helpers import (
    LARGER,
    SURE_PROMPT,
    SURE_TOKENS,
    TINY,
    call,
    native_answer,
    serving,
    succeed,
)
from firefox import Firefox
from model_host import Host
from playwright.sync_api import Page
from serve import make_server

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

ANSWER = """
    const answer = async (model, prompt, maxTokens, options = {}) => {
        const llm = await OxiLlama.load({ model, contextSize: 256, ...options });
        let text = "";
        const sampling = { temperature: 0, repetitionPenalty: 1, maxTokens };
        for await (const piece of llm.generate(prompt, sampling)) text += piece;
        const { info } = llm;
        llm.dispose();
        return { text, info };
    };
"""


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    firefox = Firefox()
    yield firefox
    firefox.close()


@pytest.fixture
def visit(firefox: Firefox, url: str) -> Iterator[Firefox]:
    """The page in Firefox. Errors that nothing caught fail the test."""
    firefox.uncaught.clear()
    firefox.goto(url)
    yield firefox
    # brings the last events
    firefox.evaluate("() => true")
    assert firefox.uncaught == []


def run(page: Any, body: str, **arguments: Any) -> Any:
    return succeed(page, ANSWER + body, **arguments)


def test_threads_answer_as_one_and_as_chromium(visit: Firefox, page: Page) -> None:
    body = """
        const results = [];
        for (const threads of [1, 2]) {
            results.push(await answer(`models/${file}`, "abc", 8, { threads }));
        }
        return results;
    """
    here = run(visit, body, file=LARGER)
    assert [result["info"]["threads"] for result in here] == [1, 2]
    assert {result["info"]["isolated"] for result in here} == {True}
    assert {result["info"]["threadsNote"] for result in here} == {""}
    # relaxed SIMD is used in both, in whatever way the browser makes its dot product
    there = run(page, body, file=LARGER)
    assert {result["info"]["kernels"][:7] for result in here + there} == {"relaxed"}
    assert len({result["text"] for result in here + there}) == 1


@pytest.mark.slow
def test_a_real_model_says_what_it_says_on_cpython(
    visit: Firefox, site: Path, smollm2_path: Path
) -> None:
    with serving(make_server(site, smollm2_path.parent)) as address:
        visit.goto(address)
        body = "return answer(`models/${file}`, prompt, tokens, { threads: 2 });"
        values = {"file": smollm2_path.name, "prompt": SURE_PROMPT, "tokens": SURE_TOKENS}
        result = run(visit, body, **values)
    assert result["text"] == native_answer(smollm2_path)
    assert result["info"]["threads"] == 2


def test_the_chat_page_answers_a_question(visit: Firefox) -> None:
    name = TINY.removesuffix(".gguf")
    button = f"""[...document.querySelectorAll("#bundled-models button")]
        .find((button) => button.textContent.includes("{name}"))"""
    visit.wait_for(button)
    visit.evaluate(f"() => {button}.click()")
    visit.wait_for("document.activeElement?.id === 'prompt'")
    visit.press("abc\ue007")
    answer = "document.querySelector('.message.assistant')"
    visit.wait_for(f"{answer}?.getAttribute('aria-busy') === 'false'")
    assert visit.evaluate(f"() => {answer}.querySelector('.text').textContent") != ""
    assert visit.evaluate("() => document.querySelector('.message.user').textContent").count("abc")


def test_an_answer_can_be_cancelled_and_the_next_one_works(visit: Firefox) -> None:
    started = time.monotonic()
    result = run(
        visit,
        """
        const llm = await OxiLlama.load({ model: `models/${file}` });
        const stop = new AbortController();
        let pieces = 0;
        const sampling = { temperature: 0, repetitionPenalty: 1, maxTokens: 4000 };
        for await (const _ of llm.generate("abc", { ...sampling, signal: stop.signal })) {
            if (++pieces === 2) stop.abort();
        }
        const stopped = llm.stats;
        let text = "";
        for await (const piece of llm.generate("abc", { maxTokens: 4 })) text += piece;
        const { stats } = llm;
        llm.dispose();
        return { pieces, stopped, stats, text };
        """,
        file=LARGER,
    )
    assert result["stopped"]["finishReason"] == "aborted"
    assert result["pieces"] < 100
    assert result["stats"]["finishReason"] in ("length", "stop")
    assert time.monotonic() - started < 60


def test_a_second_visit_starts_from_the_cache(visit: Firefox, url: str, tiny_models: Path) -> None:
    Host.files = {LARGER: (tiny_models / LARGER).read_bytes()}
    Host.etag = '"one"'
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Host)) as host:
        body = "return answer(address, 'abc', 8);"
        address = f"{host}versioned/{LARGER}"
        first = run(visit, body, address=address)
        assert (first["info"]["cache"]["hit"], first["info"]["cache"]["stored"]) == (False, True)
        Host.asked.clear()
        visit.goto(url)
        second = run(visit, body, address=address)
        assert second["info"]["cache"]["hit"]
        assert Host.asked == []
    # now the host is gone
    visit.goto(url)
    third = run(visit, body, address=address)
    assert first["text"] == second["text"] == third["text"]


def test_a_wrong_file_is_one_clear_error(visit: Firefox) -> None:
    body = "return OxiLlama.load({ model: new Blob(['<!doctype html>']) });"
    result = call(visit, body)
    assert result["code"] == "not_gguf", result
