"""web/client/connection.js, in Chromium: how the worker behind a client ends."""

from __future__ import annotations

import pytest
from browser_helpers import COLLECT, GREEDY, LONG, assert_workers_end, call
from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]


def test_a_failed_load_leaves_no_worker_behind(page: Page) -> None:
    result = call(page, "await OxiLlama.load({ model: new Blob(['no model']) });")
    assert result["code"] == "not_gguf"
    assert_workers_end(page)


def test_dispose_ends_the_worker_and_rejects_what_waits(page: Page) -> None:
    result = call(
        page,
        f"""
        const llm = await OxiLlama.load({{ model: tinyUrl }});
        const stream = llm.generate("abc", {{ {LONG} }});
        await stream.next();
        llm.dispose();
        const codes = [];
        const caught = async (promise) => promise.catch((error) => codes.push(error.code));
        await caught((async () => {{ for await (const piece of stream); }})());
        await caught(llm.tokenize("abc"));
        return codes;
        """,
    )
    assert result == ["disposed", "disposed"]
    assert_workers_end(page)


def test_a_worker_that_dies_is_noticed(page: Page) -> None:
    result = call(
        page,
        """
        const original = Worker.prototype.postMessage;
        let worker;
        Worker.prototype.postMessage = function (...args) {
            worker ??= this; // the first message is for the model's worker
            return original.apply(this, args);
        };
        const llm = await OxiLlama.load({ model: tinyUrl });
        worker.postMessage(null); // the worker's own code fails on it, outside of any request
        await llm.generate("abc", { maxTokens: 60 }).next();
        await llm.tokenize("abc");
        """,
    )
    assert result["code"] == "worker_died"


@pytest.mark.parametrize("when", ["start", "load", "idle", "answer"])
def test_a_worker_that_is_killed_is_noticed_and_the_page_goes_on(
    page: Page, faults: str, when: str
) -> None:
    """Nothing tells a page that its worker was terminated."""
    result = call(
        page,
        COLLECT
        + f"""
        (await OxiLlama.load({{ model: tinyUrl }})).dispose(); // uses the page's spare worker up
        const workers = [];
        const Original = Worker;
        window.Worker = class extends Original {{
            constructor(...args) {{
                super(...args);
                workers.push(this);
            }}
        }};
        const rejected = (promise) => promise.then(() => null, ({{ code, message, detail }}) =>
            ({{ code, message, detail }}));
        const errors = [];
        if (when === "start" || when === "load") {{
            const first = when === "start" ? "runtime" : "download";
            const onProgress = ({{ phase }}) => {{
                if (phase === first) workers[0].terminate();
            }};
            errors.push(await rejected(OxiLlama.load({{ model: address, onProgress }})));
        }} else {{
            const llm = await OxiLlama.load({{ model: tinyUrl }});
            const stream = llm.generate("abc", {{ {LONG} }});
            if (when === "answer") await stream.next();
            workers[0].terminate();
            if (when === "idle") await new Promise((resolve) => setTimeout(resolve, 300));
            errors.push(await rejected(collect(stream)));
            errors.push(await rejected(llm.tokenize("abc")));
        }}
        const again = await OxiLlama.load({{ model: tinyUrl }});
        const text = await collect(again.generate("abc", {GREEDY}));
        again.dispose();
        return {{ errors, text }};
        """,
        when=when,
        address=faults + "endless",
    )
    assert result.get("code") is None, result
    assert result["text"]
    for error in result["errors"]:
        assert error["code"] == "worker_died"
        assert "load the model again" in error["message"]
        assert "the browser ended it" in error["detail"]
