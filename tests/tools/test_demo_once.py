"""`make demo-once` prints exactly the answer that the page ends with, whatever its Markdown."""

from __future__ import annotations

import json

import demo_once
import pytest
from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]

ANSWERS = {
    "a list": "Three things:\n\n1. One\n2. Two\n   - nested\n3. Three\n\nThat is all.",
    "code": "Try this:\n\n```python\nfor i in range(3):\n    print(i)\n\nprint()\n```\n\n**That**.",
    "blank lines": "First.\n\n\n\nSecond `x  y` | a | b |\n|---|---|\n| 1 | 2 |\n\n  indented\n\n",
    "HTML and letters": "1 < 2 & 3 > 2, \\*no\\* ~~emphasis~~ é 漢 👩‍👩‍👧 <b>bold</b>",
}
# answers "load" and "chat" as the worker does, with a text instead of a model
WORKER = """
const text = %s;
const info = {
  name: "scripted", architecture: "llama", isEncoder: false, hasChatTemplate: true, layers: 1,
  contextLength: 4096, contextSize: 4096, hiddenSize: 8, vocabularySize: 9, executor: "none",
  memoryBytes: 1, heapBytes: 1, threads: 1, isolated: true, threadsNote: "", kernels: "simd128",
  cache: { hit: false, stored: false, note: "" },
  startup: { runtime: 1, download: 1, load: 1, ready: 1, snapshot: true },
};
const stats = {
  cachedTokens: 0, promptTokens: 3, tokens: 9, prefillTokensPerSecond: 1, decodeTokensPerSecond: 1,
  timeToFirstToken: 1, contextTokens: 12, finishReason: "stop",
};
navigator.locks.request(self.name, () => {
  postMessage({ type: "alive" });
  return new Promise(() => {});
});
self.onmessage = async ({ data: { type, id } }) => {
  if (type === "load") return postMessage({ type: "done", id, result: info });
  if (type === "chat") {
    let tokens = 0;
    for (const piece of text.match(/[^]{1,3}/gu)) {
      postMessage({ type: "piece", id, text: piece, tokens: ++tokens });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return postMessage({ type: "done", id, result: stats });
  }
  if (type !== "close") return postMessage({ type: "done", id, result: new Uint8Array(8) });
  postMessage({ type: "closed" });
};
"""


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_printed_is_the_answer(
    page: Page, url: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.route(
        "**/worker.js",
        lambda route: route.fulfill(
            content_type="text/javascript",
            body=WORKER % json.dumps(ANSWERS[name]),
            headers={"Cross-Origin-Embedder-Policy": "require-corp"},
        ),
    )
    demo_once.open_model(page, url, None, 30)
    stats = demo_once.ask(page, "Why?", 30)
    page.locator(".message.assistant").last.get_by_role(
        "button", name="Copy", exact=True
    ).last.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert capsys.readouterr().out == copied == ANSWERS[name]
    assert "9 tokens" in stats
