"""What the page keeps and shows of conversations, in Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_helpers import TINY
from page_helpers import ask, change_settings, last_answer, open_bundled
from paths import ROOT
from playwright.sync_api import Browser, Page, expect

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
GREEDY = {"temperature": "0", "repetitionPenalty": "1", "maxTokens": "8"}
HOSTILE = """
# Title <img src="//example.org/a.png" onerror="window.broken = 1">
<script>window.broken = 2</script> <b onclick="window.broken = 3" style="position: fixed">bold</b>
[link](javascript:window.broken=4) [safe](https://example.org) ![image](https://example.org/a.png)
<iframe srcdoc="<script>parent.broken = 5</script>"></iframe>

```python
print("<i>not markup</i>")
```

| a | b |
|---|---|
| 1 | 2 |
"""


def conversations(page: Page) -> list[str]:
    return page.locator("#conversations .conversation").all_text_contents()


def test_conversations_outlive_a_reload_and_go_on(page: Page) -> None:
    open_bundled(page)
    change_settings(page, GREEDY)
    ask(page, "abc")
    answer = last_answer(page)
    page.click("#new-chat")
    ask(page, "second")
    last_answer(page)
    page.reload()
    open_bundled(page)
    assert conversations(page) == ["second", "abc"]
    page.click("#conversations >> text=abc")
    expect(page.locator(".message")).to_have_count(2)
    assert last_answer(page) == answer
    ask(page, "more")
    last_answer(page)
    expect(page.locator(".message")).to_have_count(4)
    assert conversations(page) == ["abc", "second"]


def test_a_conversation_is_deleted_by_the_second_click(page: Page) -> None:
    open_bundled(page)
    change_settings(page, GREEDY)
    ask(page, "abc")
    last_answer(page)
    delete = page.get_by_role("button", name="Delete “abc”")
    delete.click()
    expect(delete).to_have_text("Delete?")
    assert conversations(page) == ["abc"]
    delete.click()
    expect(page.locator("#conversations li")).to_have_count(0)
    expect(page.locator(".message")).to_have_count(0)
    page.reload()
    open_bundled(page)
    assert conversations(page) == []


def test_an_answer_is_written_anew(page: Page) -> None:
    open_bundled(page)
    change_settings(page, GREEDY)
    ask(page, "abc")
    first = last_answer(page)
    page.get_by_role("button", name="Regenerate").click()
    assert last_answer(page) == first  # greedy
    expect(page.locator(".message")).to_have_count(2)
    ask(page, "cab")
    last_answer(page)
    page.get_by_role("button", name="Regenerate").first.click()
    last_answer(page)
    expect(page.locator(".message")).to_have_count(2)


def test_a_question_is_edited(page: Page) -> None:
    open_bundled(page)
    change_settings(page, GREEDY)
    ask(page, "abc")
    last_answer(page)
    ask(page, "cab")
    last_answer(page)
    page.get_by_role("button", name="Edit").last.click()
    expect(page.locator("#prompt")).to_have_value("cab")
    expect(page.locator(".message")).to_have_count(2)
    ask(page, "bca")
    last_answer(page)
    assert page.locator(".message.user .text").all_text_contents() == ["abc", "bca"]


def test_copy_and_export(page: Page, tmp_path: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_bundled(page)
    change_settings(page, GREEDY)
    ask(page, "abc")
    answer = last_answer(page)
    page.locator(".message.assistant").get_by_role("button", name="Copy").click()
    expect(page.locator(".message.assistant .tools")).to_contain_text("Copied")
    # the Markdown that was written, of which the page shows the words
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.split() == answer.split()
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename == "abc.md"
    download.value.save_as(tmp_path / "abc.md")
    text = (tmp_path / "abc.md").read_text()
    assert text.startswith("# abc\n\n**You**\n\nabc\n")
    assert copied.strip() in text


def test_hostile_markdown_is_harmless(page: Page) -> None:
    page.evaluate(
        """async (source) => {
            const { MarkdownView } = await import("./page/markdown.js");
            const view = new MarkdownView(document.body.appendChild(document.createElement("div")));
            // as it is written: every beginning of it is shown once
            for (let n = 0; n <= source.length; n += 3) view.update(source.slice(0, n));
            view.update(source);
        }""",
        HOSTILE,
    )
    markdown = page.locator(".markdown").last
    expect(markdown.locator("h1")).to_contain_text("Title")
    expect(markdown.locator("td").first).to_have_text("1")
    expect(markdown.locator("pre")).to_have_text('print("<i>not markup</i>")\n')
    expect(markdown.locator(".code-head span")).to_have_text("python")
    safe = markdown.locator("a[href]")
    assert safe.evaluate_all("links => links.map((a) => [a.href, a.target, a.rel])") == [
        ["https://example.org/", "_blank", "noopener noreferrer"]
    ]
    assert markdown.locator("img, script, iframe, [onclick], [onerror], [style]").count() == 0
    page.wait_for_timeout(100)
    assert page.evaluate("window.broken") is None


def test_figures_show_what_the_model_does(page: Page) -> None:
    open_bundled(page)
    change_settings(page, {**GREEDY, "maxTokens": "40"})
    expect(page.locator("#stat-context")).to_have_text("0 / 4096")
    ask(page, "abc")
    last_answer(page)
    expect(page.locator("#stat-speed")).to_contain_text("tokens/s")
    expect(page.locator("#stat-first")).to_contain_text(" s")
    expect(page.locator("#stat-memory")).to_contain_text("MB")
    used = int((page.locator("#stat-context").text_content() or "").split(" / ")[0])
    stats = page.locator(".message.assistant .stats").last.text_content() or ""
    written = re.search(r"(\d+) tokens", stats)
    assert written and int(written[1]) <= used < 4096
    points = page.locator("#stat-chart polyline").get_attribute("points")
    assert points and all(float(p.split(",")[1]) <= 28 for p in points.split())


def test_colours_follow_the_setting(page: Page) -> None:
    def paper() -> str:
        color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return color

    light = paper()
    page.click("#open-settings")
    page.select_option("#setting-theme", "dark")
    assert paper() != light
    page.reload()
    assert paper() != light
    page.click("#open-settings")
    page.click("#defaults")
    assert paper() == light


def test_on_a_phone_the_list_covers_the_chat_only_when_asked_for(
    browser: Browser, url: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(url)
    open_bundled(page)
    expect(page.locator("#sidebar")).to_be_hidden()
    change_settings(page, GREEDY)
    ask(page, "abc")
    last_answer(page)
    page.tap("#toggle-sidebar")
    expect(page.locator("#toggle-sidebar")).to_have_attribute("aria-expanded", "true")
    page.tap("#conversations >> text=abc")
    expect(page.locator("#sidebar")).to_be_hidden()
    context.close()


def test_a_window_that_becomes_narrow_shows_the_chat(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url)
    open_bundled(page)
    expect(page.locator("#sidebar")).to_be_visible()
    page.set_viewport_size({"width": 600, "height": 800})
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(page.locator("#toggle-sidebar")).to_have_attribute("aria-expanded", "false")
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(page.locator("#sidebar")).to_be_visible()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(browser: Browser, url: str, scheme: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#bundled-models button").first).to_be_visible()
    page.evaluate(AXE)
    assert violations(page) == []
    page.click("#open-settings")
    assert violations(page) == []
    page.keyboard.press("Escape")
    open_bundled(page, TINY)
    change_settings(page, GREEDY)
    ask(page, "abc")
    last_answer(page)
    if page.locator("#sidebar").is_hidden():
        assert violations(page) == []
        page.click("#toggle-sidebar")
    assert violations(page) == []
    context.close()


def violations(page: Page) -> list[str]:
    found: list[dict] = page.evaluate("axe.run().then((results) => results.violations)")
    return [f"{v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"]]
