"""Models that run in a page within a memory budget, read from the device at each pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser_helpers import LARGER, call, renderer_memory, serving
from playwright.sync_api import Browser, Page
from serve import make_server

from oxillama_web import EngineConfig, InferenceEngine
from oxillama_web.inference.snapshots import KVSnapshot

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

ASK = """
    const ask = async (options) => {
        const llm = await OxiLlama.load({ threads: 1, contextSize: 512, ...options });
        let text = "";
        const asked = { temperature: 0, repetitionPenalty: 1, maxTokens: 8 };
        for await (const piece of llm.generate("the quick brown fox", asked)) text += piece;
        const { info } = llm;
        return { text, info, llm };
    };
    const told = ({ code, message }) => ({ code, message });
    const caught = (promise) => promise.then(() => null, told);
"""


def test_the_same_answer_from_every_kind_of_file(page: Page) -> None:
    result = call(
        page,
        ASK
        + """
        const whole = await ask({ model: address });
        whole.llm.dispose();
        const bytes = await (await fetch(address)).arrayBuffer();
        const answers = {};
        const models = {
            kept: address, blob: new Blob([bytes]), file: new File([bytes], "a.gguf"),
            buffer: bytes.slice(0), fresh: address + "?fresh",
        };
        for (const [name, model] of Object.entries(models)) {
            const { text, info, llm } = await ask({ model, memoryBudget: 3_000_000 });
            answers[name] = [text, info.memoryBytes];
            llm.dispose();
        }
        return { text: whole.text, memoryBytes: whole.info.memoryBytes, answers };
        """,
        address=f"models/{LARGER}",
    )
    assert result.get("code") is None, result
    for name, (text, memory) in result["answers"].items():
        assert text == result["text"], name
        assert memory < result["memoryBytes"] - 4_000_000


def test_a_session_moves_between_pages_budgets_and_cpython(page: Page, tiny_models: Path) -> None:
    result = call(
        page,
        ASK
        + """
        const whole = await ask({ model: address });
        const saved = await whole.llm.saveSession();
        const paged = await ask({ model: address, memoryBudget: 3_000_000 });
        await paged.llm.loadSession(saved);
        const again = await paged.llm.saveSession();
        return { saved: [...saved], again: [...again] };
        """,
        address=f"models/{LARGER}",
    )
    assert result.get("code") is None, result
    assert result["again"] == result["saved"]
    config = EngineConfig(str(tiny_models / LARGER), executor="kernels", context_size=512)
    engine = InferenceEngine(config)
    engine.load_model()
    engine.kv_restore(KVSnapshot.from_bytes(bytes(result["saved"])))
    assert engine.kv_snapshot().to_bytes() == bytes(result["saved"])


def test_what_cannot_be_read_again_is_refused(page: Page) -> None:
    result = call(
        page,
        ASK
        + """
        const bytes = await (await fetch(address)).arrayBuffer();
        const stream = () => new Blob([bytes]).stream();
        const load = (options) => caught(OxiLlama.load({ memoryBudget: 3_000_000, ...options }));
        return {
            stream: await load({ model: stream() }),
            off: await load({ model: address, cache: "off" }),
            two: await load({ model: [new Blob([bytes]), new Blob([bytes])] }),
            small: await load({ model: address, memoryBudget: 1000 }),
            broken: await load({ model: new Blob([bytes.slice(0, 100_000)]) }),
        };
        """,
        address=f"models/{LARGER}",
    )
    assert result["stream"]["code"] == "invalid_request"
    assert "not kept" in result["off"]["message"]
    assert "one file" in result["two"]["message"]
    assert result["small"]["code"] == "out_of_memory"
    assert "needs at least" in result["small"]["message"]
    assert result["broken"]["code"] == "bad_model"


@pytest.mark.slow
@pytest.mark.alone
def test_gemma_runs_in_64_mb(browser: Browser, site: Path, gemma3_path: Path) -> None:
    """A file of 253 MB, with an embedding of 178 MB that is the output head too."""
    with serving(make_server(site, gemma3_path.parent)) as address:
        context = browser.new_context()

        def visit(**options: float) -> tuple[dict[str, Any], int]:
            page = context.new_page()
            page.goto(address)
            answer = call(
                page,
                ASK + "const { text, info } = await ask({ model: address, ...options });"
                "return { text, memoryBytes: info.memoryBytes };",
                address=f"models/{gemma3_path.name}",
                options=options,
            )
            memory = renderer_memory(browser)
            page.close()
            return answer, memory

        # buffers of the download wait for the garbage collector, in the page that downloaded
        visit(memoryBudget=64e6)
        paged, resident = visit(memoryBudget=64e6)
        whole, all_of_it = visit()
        context.close()
    assert paged.get("code") is None, paged
    assert paged["text"] == whole["text"]
    assert paged["memoryBytes"] < 90e6 < 240e6 < whole["memoryBytes"]
    assert resident < all_of_it - 120e6
