"""The page keeps what a model has read, so that a conversation goes on after a reload at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browser_helpers import CHAT_TEMPLATE, LOAD_TIMEOUT_MS, TINY, TINY_BASE, wait_until
from gguf_files import write_tiny_llama
from page_helpers import ask, change_settings, last_answer, open_bundled
from playwright.sync_api import Page, expect

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

GREEDY = {"temperature": "0", "repetitionPenalty": "1", "maxTokens": "12"}
QUESTION = "the quick brown fox jumps over the lazy dog " * 5
# the sessions as the page keeps them, by the title of their conversation
KEPT = """
    const { createStore, entries, set } = await import("./page/vendor/idb-keyval.js");
    const sessions = createStore("oxillama-sessions", "sessions");
    const conversations = createStore("oxillama-conversations", "conversations");
    const titles = Object.fromEntries(
        (await entries(conversations)).map(([id, { title }]) => [id, title]));
    const kept = await entries(sessions);
"""


def run(page: Page, body: str, argument: Any = None) -> Any:
    return page.evaluate(f"async (argument) => {{ {KEPT} {body} }}", argument)


def kept(page: Page) -> dict[str, int]:
    """Titles of conversations and sizes of their sessions."""
    body = "return kept.map(([id, { content }]) => [titles[id] ?? id, content.size]);"
    return dict(run(page, body))


def wait_for_kept(page: Page, *titles: str) -> None:
    wait_until(page, lambda: set(kept(page)) == set(titles), 30)
    assert set(kept(page)) == set(titles)


def read_and_remembered(page: Page) -> tuple[int, int]:
    """How many tokens of the last question the model read, and how many it knew."""
    last_answer(page)
    stats = page.locator(".message.assistant .stats").last.text_content() or ""
    found = re.search(r"(\d+) tokens? read(?:, (\d+) remembered)?", stats)
    assert found, stats
    return int(found[1]), int(found[2] or 0)


def begin(page: Page, text: str = QUESTION) -> None:
    open_bundled(page)
    change_settings(page, GREEDY)
    ask(page, text)
    last_answer(page)


def go_to(page: Page, title: str) -> None:
    page.locator("#conversations .conversation", has_text=title).click()
    expect(page.locator("#conversations [aria-current]")).to_contain_text(title)


def reopen(page: Page, title: str, file: str = TINY) -> None:
    page.reload()
    open_bundled(page, file)
    go_to(page, title)
    expect(page.locator(".message")).to_have_count(2)


def test_after_a_reload_only_the_new_tokens_are_read(page: Page) -> None:
    begin(page)
    wait_for_kept(page, QUESTION[:59] + "…")
    first = kept(page)
    ask(page, "cab")
    expected = last_answer(page)
    read, remembered = read_and_remembered(page)
    assert read < 60 < remembered
    wait_until(page, lambda: kept(page) != first, 30)
    assert kept(page) != first
    # another reload, after which the second question is asked again
    page.reload()
    open_bundled(page)
    page.locator("#conversations .conversation").click()
    expect(page.locator(".message")).to_have_count(4)
    page.get_by_role("button", name="Edit").last.click()
    expect(page.locator(".message")).to_have_count(2)
    ask(page, "cab")
    assert last_answer(page) == expected
    again, known = read_and_remembered(page)
    # all of the second question is known; of a prompt at least one token is read
    assert (again, known) == (1, read + remembered - 1)


def test_leaving_a_conversation_keeps_it_at_once(page: Page) -> None:
    begin(page, "first " + QUESTION)
    context = page.locator("#stat-context")
    used = context.text_content() or ""
    assert used.endswith(" / 4096")
    page.click("#new-chat")
    expect(context).to_have_text("0 / 4096")
    ask(page, "second " + QUESTION)
    last_answer(page)
    go_to(page, "first")
    expect(context).to_have_text(used)
    ask(page, "cab")
    read, remembered = read_and_remembered(page)
    assert read < 60 < remembered
    page.click("#change-model")
    expect(page.locator("#start")).to_be_visible()
    open_bundled(page)
    go_to(page, "second")
    ask(page, "cab")
    read, remembered = read_and_remembered(page)
    assert read < 60 < remembered


def test_a_conversation_longer_than_its_context_goes_on_after_a_reload(
    page: Page, tmp_path: Path
) -> None:
    small = tmp_path / "small.gguf"
    write_tiny_llama(small, context_length=200, chat_template=CHAT_TEMPLATE)

    def open_small() -> None:
        page.set_input_files("#file", small)
        expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)

    change_settings(page, GREEDY)
    page.click("#open-settings")
    page.select_option("#setting-contextFull", "shift")
    page.keyboard.press("Escape")
    open_small()
    ask(page, QUESTION * 4)
    read_and_remembered(page)
    title = QUESTION[:59] + "…"
    wait_for_kept(page, title)
    page.reload()
    open_small()
    go_to(page, title)
    ask(page, "cab")
    read, remembered = read_and_remembered(page)
    assert read < 60 < remembered < 200


DAMAGES = {
    "a changed byte": """
        const bytes = new Uint8Array(await content.arrayBuffer());
        bytes[bytes.length >> 1] ^= 1;
        return new Blob([bytes]);
    """,
    "a cut": "return content.slice(0, 1000);",
    "something else": "return 7;",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_session_is_dropped_and_the_answer_comes_as_usual(
    page: Page, damage: str
) -> None:
    begin(page)
    title = QUESTION[:59] + "…"
    wait_for_kept(page, title)
    change = f"const damaged = async (content) => {{ {DAMAGES[damage]} }};"
    store = "for (const [id, { content, ...rest }] of kept) {"
    save = "await set(id, { ...rest, content: await damaged(content) }, sessions); }"
    run(page, change + store + save)
    reopen(page, title)
    wait_for_kept(page)
    ask(page, "cab")
    read, remembered = read_and_remembered(page)
    assert remembered < 20 < read  # a new chat begins with the same token
    wait_for_kept(page, title)


def test_another_models_session_is_refused(page: Page) -> None:
    begin(page)
    title = QUESTION[:59] + "…"
    wait_for_kept(page, title)
    # of the same name, and yet another file
    name = run(page, "return kept[0][1].model;")
    reopen(page, title, TINY_BASE)
    wait_for_kept(page)
    ask(page, "cab")
    assert last_answer(page)
    wait_for_kept(page, title)
    assert run(page, "return kept[0][1].model;") == name


def test_deleted_with_its_conversation(page: Page) -> None:
    begin(page, "abc")
    wait_for_kept(page, "abc")
    delete = page.get_by_role("button", name="Delete “abc”")
    delete.click()
    delete.click()
    wait_for_kept(page)
    # also if it was not kept yet
    ask(page, "cab")
    last_answer(page)
    delete = page.get_by_role("button", name="Delete “cab”")
    delete.click()
    delete.click()
    page.wait_for_timeout(1500)
    assert kept(page) == {}


def test_those_of_the_newest_conversations_are_kept(page: Page) -> None:
    begin(page, "one")
    for text in ("two", "three", "four", "five"):
        page.click("#new-chat")
        ask(page, text)
        last_answer(page)
    wait_for_kept(page, "two", "three", "four", "five")


def test_large_ones_are_not_kept_together(page: Page) -> None:
    sizes = page.evaluate(
        """async () => {
            const { SnapshotStore } = await import("./page/kv_snapshots.js");
            const { createStore, entries } = await import("./page/vendor/idb-keyval.js");
            const store = new SnapshotStore();
            const content = new Blob([new Uint8Array(100e6)]);
            for (const [index, id] of ["a", "b", "c"].entries()) {
                await store.save(id, { model: "m", updated: index, content });
            }
            const kept = await entries(createStore("oxillama-sessions", "sessions"));
            return kept.map(([id, { content }]) => [id, content.size]);
        }"""
    )
    assert sizes == [["b", 100e6], ["c", 100e6]]


def test_a_session_that_finds_no_room_takes_the_others_along(page: Page, url: str) -> None:
    session = page.context.new_cdp_session(page)
    quota = {"origin": url.rstrip("/"), "quotaSize": 8e6}
    session.send("Storage.overrideQuotaForOrigin", quota)
    sizes = page.evaluate(
        """async () => {
            const { SnapshotStore } = await import("./page/kv_snapshots.js");
            const { createStore, entries } = await import("./page/vendor/idb-keyval.js");
            const store = new SnapshotStore();
            const sizes = [];
            for (const [id, size] of [["a", 1e6], ["b", 100e6], ["c", 1e6]]) {
                const content = new Blob([new Uint8Array(size)]);
                await store.save(id, { model: "m", updated: 0, content });
                const kept = await entries(createStore("oxillama-sessions", "sessions"));
                sizes.push(kept.map(([id]) => id));
            }
            return sizes;
        }"""
    )
    assert sizes == [["a"], [], ["c"]]


REFUSING = """() => {
    window.isFull = () => %s;
    const put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = function (...values) {
        if (window.isFull()) throw new DOMException("full", "QuotaExceededError");
        return put.apply(this, values);
    };
    const clear = IDBObjectStore.prototype.clear;
    IDBObjectStore.prototype.clear = function () {
        window.madeRoom = true;
        return clear.apply(this);
    };
}"""


def test_conversations_are_kept_where_sessions_fill_the_storage(page: Page) -> None:
    begin(page, "abc")
    wait_for_kept(page, "abc")
    page.evaluate(REFUSING % "!window.madeRoom")
    ask(page, "cab")
    assert last_answer(page)
    expect(page.locator("#memory-only")).to_be_hidden()
    page.reload()
    open_bundled(page)
    page.locator("#conversations .conversation").click()
    expect(page.locator(".message")).to_have_count(4)


def test_a_full_storage_is_told_and_the_chat_goes_on(page: Page) -> None:
    begin(page, "abc")
    page.evaluate(REFUSING % "true")
    ask(page, "cab")
    assert last_answer(page)
    notice = page.locator("#memory-only")
    expect(notice).to_be_visible()
    assert "gone when you close" in (notice.text_content() or "")
    page.click("#new-chat")
    ask(page, "bca")
    assert last_answer(page)
    assert page.locator("#conversations .conversation").all_text_contents() == ["bca", "abc"]
    page.locator("#conversations .conversation", has_text="abc").click()
    expect(page.locator(".message")).to_have_count(4)


def test_a_question_right_after_the_answer_is_not_delayed(page: Page) -> None:
    """Nothing is saved while questions follow each other."""
    page.evaluate(
        """() => {
            window.saves = [];
            const post = Worker.prototype.postMessage;
            Worker.prototype.postMessage = function (message, ...rest) {
                const { type } = message;
                if (["saveConversation", "chat"].includes(type)) window.saves.push(type);
                return post.call(this, message, ...rest);
            };
        }"""
    )
    begin(page, "abc")
    for text in ("cab", "bca"):
        ask(page, text)
        last_answer(page)
    wait_for_kept(page, "abc")
    assert page.evaluate("window.saves") == ["chat", "chat", "chat", "saveConversation"]
