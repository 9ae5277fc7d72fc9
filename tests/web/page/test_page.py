"""The demo page in Chromium, as a person uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_helpers import CHAT_TEMPLATE, LARGER, LOAD_TIMEOUT_MS, TINY, TINY_BASE, serving
from gguf_files import split_model, write_tiny_bert, write_tiny_llama
from page_helpers import ask, change_settings, last_answer, open_bundled
from paths import ROOT
from playwright.sync_api import Browser, Page, expect
from serve import make_server

pytest_plugins = ["browser_fixtures"]

PICTURES = ROOT / "test-results"
# the most probable token of random weights is hardly ever the one that ends an answer
LONG = {"maxTokens": "5000", "temperature": "0", "repetitionPenalty": "1"}


def test_a_question_a_second_one_and_a_new_chat(page: Page) -> None:
    open_bundled(page)
    ask(page, "abc")
    assert last_answer(page)
    expect(page.locator(".message.assistant .stats").last).to_contain_text(re.compile("tokens?"))
    ask(page, "cab")
    assert last_answer(page)
    assert page.locator(".message").count() == 4
    page.click("#new-chat")
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()
    ask(page, "abc")
    assert last_answer(page)


def test_a_model_without_a_chat_template_continues_the_text(page: Page) -> None:
    open_bundled(page, TINY_BASE)
    ask(page, "abc")
    assert last_answer(page)
    expect(page.locator(".message.assistant").last).to_contain_text("not trained to chat")
    ask(page, "cab")
    assert last_answer(page)


def test_a_template_that_refuses_the_instructions_says_so(page: Page, tmp_path: Path) -> None:
    refusing = tmp_path / "refusing.gguf"
    template = """{% if messages[0].role == "system" %}
        {{- raise_exception("System role not supported") }}{% endif %}"""
    write_tiny_llama(refusing, context_length=4096, chat_template=template + CHAT_TEMPLATE)
    page.set_input_files("#file", refusing)
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    change_settings(page, {"instructions": "Be brief."})
    for _ in range(2):
        ask(page, "abc")
        notice = page.locator(".message.assistant .notice").last
        expect(notice).to_contain_text("System role not supported", timeout=LOAD_TIMEOUT_MS)
        assert "not trained to chat" not in (page.locator("#log").text_content() or "")
    change_settings(page, {"instructions": ""})
    page.click("#new-chat")
    ask(page, "abc")
    assert last_answer(page)
    expect(page.locator(".message.assistant .notice")).to_have_count(0)


def test_a_model_that_cannot_write_says_so_and_another_can_be_chosen(
    page: Page, tmp_path: Path
) -> None:
    encoder = tmp_path / "encoder.gguf"
    write_tiny_bert(encoder)
    page.set_input_files("#file", encoder)
    error = page.locator("#start-error")
    expect(error).to_contain_text("cannot write any", timeout=LOAD_TIMEOUT_MS)
    expect(page.locator("#chat")).to_be_hidden()
    open_bundled(page)
    expect(error).to_be_hidden()
    expect(page.locator("#model-name")).to_have_text(TINY.removesuffix(".gguf"))
    expect(page.locator("#conversations li")).to_have_count(0)


def test_the_answer_grows_while_it_is_written(page: Page) -> None:
    open_bundled(page, LARGER)
    change_settings(page, {**LONG, "maxTokens": "300"})
    lengths: list[int] = page.evaluate(
        """async () => {
            const lengths = [];
            const log = document.getElementById("log");
            new MutationObserver(() => {
                const text = log.querySelector(".message.assistant .text");
                if (text) lengths.push(text.textContent.length);
            }).observe(log, { subtree: true, childList: true });
            document.getElementById("prompt").value = "abc";
            document.getElementById("send").click();
            for (;;) {
                const answer = log.querySelector(".message.assistant");
                if (answer?.getAttribute("aria-busy") === "false") return lengths;
                await new Promise(requestAnimationFrame);
            }
        }"""
    )
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 3


@pytest.mark.parametrize("way", ["button", "escape"])
def test_stop(page: Page, way: str) -> None:
    open_bundled(page, LARGER)
    change_settings(page, LONG)
    ask(page, "abc")
    expect(page.locator(".message.assistant .text")).not_to_be_empty(timeout=LOAD_TIMEOUT_MS)
    if way == "button":
        page.click("#stop")
    else:
        page.keyboard.press("Escape")
    assert last_answer(page)
    expect(page.locator(".message.assistant .stats").last).to_contain_text("stopped")
    expect(page.locator("#send")).to_be_visible()
    page.click("#new-chat")
    change_settings(page, {"maxTokens": "5"})
    ask(page, "abc")
    assert last_answer(page)


def test_a_file_of_this_device_by_picker(page: Page, tiny_models: Path) -> None:
    page.set_input_files("#file", tiny_models / TINY)
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    ask(page, "abc")
    assert last_answer(page)


def test_a_model_in_parts_by_picker(page: Page, tiny_models: Path, tmp_path: Path) -> None:
    parts = split_model(tiny_models / TINY, tmp_path, 3)
    page.set_input_files("#file", parts[::-1])
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    ask(page, "abc")
    assert last_answer(page)


def test_a_file_of_this_device_by_drop(page: Page) -> None:
    page.evaluate(
        f"""async () => {{
            const bytes = await (await fetch("models/{TINY}")).arrayBuffer();
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.gguf"));
            const event = new DragEvent("drop", {{ dataTransfer, bubbles: true }});
            document.getElementById("drop").dispatchEvent(event);
        }}"""
    )
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)


def test_a_web_address(page: Page, faults: str) -> None:
    page.fill("#url", faults + "whole")
    page.keyboard.press("Enter")
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)


def test_a_model_named_in_the_page_address_and_a_reload(page: Page, url: str) -> None:
    page.goto(f"{url}?model=models/{TINY}")
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    ask(page, "abc")
    page.reload()
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    expect(page.locator(".message")).to_have_count(0)
    ask(page, "abc")
    assert last_answer(page)


@pytest.mark.parametrize(("path", "words"), [("missing", "404"), ("web-page", "GGUF")])
def test_an_error_is_told_and_another_model_can_be_chosen(
    page: Page, faults: str, path: str, words: str
) -> None:
    page.fill("#url", faults + path)
    page.click("#url-form button")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(words, timeout=LOAD_TIMEOUT_MS)
    assert "Traceback" not in (alert.text_content() or "")
    open_bundled(page)
    expect(page.locator("#start-error")).to_be_hidden()


def test_a_broken_file_is_told(page: Page, tmp_path: Path, tiny_models: Path) -> None:
    broken = tmp_path / "broken.gguf"
    whole = (tiny_models / TINY).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    page.set_input_files("#file", broken)
    expect(page.get_by_role("alert")).to_contain_text("ModelFormatError", timeout=LOAD_TIMEOUT_MS)


def test_loading_can_be_cancelled(page: Page, faults: str) -> None:
    page.fill("#url", faults + "endless")
    page.click("#url-form button")
    expect(page.locator("#loading-detail")).to_contain_text("Getting", timeout=LOAD_TIMEOUT_MS)
    page.click("#cancel")
    expect(page.locator("#choices")).to_be_visible()
    expect(page.locator("#start-error")).to_be_hidden()


def test_keyboard_alone_is_enough(page: Page) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#bundled-models') !== null"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    page.keyboard.type("a")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("b")
    expect(page.locator("#prompt")).to_have_value("a\nb")
    page.keyboard.press("Enter")
    expect(page.locator(".message.user .text")).to_have_text("a\nb")
    assert last_answer(page)


def test_settings_are_kept_and_can_be_reset(page: Page) -> None:
    change_settings(page, {"topK": "7", "seed": "11"})
    page.reload()
    expect(page.locator("#setting-topK")).to_have_value("7")
    page.click("#open-settings")
    page.click("#defaults")
    expect(page.locator("#setting-topK")).to_have_value("40")
    expect(page.locator("#setting-seed")).to_have_value("")


def test_every_field_has_a_name_and_an_explanation(page: Page) -> None:
    page.click("#open-settings")
    page.click("#fields summary")
    fields = page.locator("#fields input, #fields textarea, #fields select")
    assert fields.count() == 20
    for field in fields.all():
        assert field.evaluate("f => f.labels[0].textContent.length > 3")
        hint = field.get_attribute("aria-describedby")
        assert page.locator(f"#{hint}").text_content()


def test_settings_change_what_is_written(page: Page) -> None:
    open_bundled(page)
    change_settings(page, {"temperature": "0", "repetitionPenalty": "1", "maxTokens": "30"})
    ask(page, "abc")
    whole = last_answer(page).strip()

    def again() -> str:
        page.get_by_role("button", name="Regenerate").last.click()
        return last_answer(page).strip()

    change_settings(page, {"stop": f"never there\n{whole[5:7]}"})
    assert again() == whole[: whole.index(whole[5:7])].strip()
    changes = {
        "typicalP": "0.5", "repetitionPenaltyWindow": "7", "frequencyPenalty": "2",
        "presencePenalty": "1.5", "dryMultiplier": "0.8", "xtcThreshold": "0.1",
        "dynatempRange": "0.5", "mirostat": "2",
    }  # fmt: skip
    change_settings(page, {"stop": "", **changes})
    page.evaluate(
        """() => {
            const post = Worker.prototype.postMessage;
            Worker.prototype.postMessage = function (message, ...rest) {
                if (message.type === "chat") window.asked = message.options.sampler;
                return post.call(this, message, ...rest);
            };
        }"""
    )
    assert again()
    asked = page.evaluate("window.asked")
    for name, value in changes.items():
        assert asked[re.sub("([A-Z])", lambda m: f"_{m[0].lower()}", name)] == float(value), name
    change_settings(page, {"mirostat": "0"})
    page.click("#open-settings")
    page.check("#setting-json")
    page.keyboard.press("Escape")
    assert again().startswith("jsonCopy{")
    page.reload()
    expect(page.locator("#setting-json")).to_be_checked()
    expect(page.locator("#setting-frequencyPenalty")).to_have_value("2")


def test_an_answer_in_json_is_shown_as_code(page: Page) -> None:
    whole = """ {"a": [1, {"b": "x, {y}\\" *z*"}, []], "n": 12345678901234567890, "e": {} }"""
    texts = [whole, whole + "\n\nThat *is* it.", '{"a": "b\\', "{x} *is* {y}", "a {", "{", ""]
    shown = page.evaluate(
        """async (texts) => {
            const { asMarkdown } = await import("./page/pretty_json.js");
            return texts.map(asMarkdown);
        }""",
        texts,
    )
    fence = "~" * 8
    lines = json.dumps(json.loads(whole), indent=2)
    code = f"{fence}json\n{lines}\n{fence}\n\n"
    begun = [f"{fence}json\n{text}\n{fence}\n\n" for text in ('{\n  "a": "b\\', "{")]
    assert shown == [code, code + "\n\nThat *is* it.", begun[0], *texts[3:5], begun[1], ""]


@pytest.mark.parametrize("choice", ["stop", "shift"])
def test_what_happens_when_the_context_is_full(page: Page, tmp_path: Path, choice: str) -> None:
    open_bundled(page)
    expect(page.locator("#stat-context")).to_have_text("0 / 4096")
    ask(page, "abc")
    last_answer(page)
    change_settings(page, LONG | {"maxTokens": "300"})
    page.click("#open-settings")
    page.select_option("#setting-contextFull", choice)
    page.keyboard.press("Escape")
    page.click("#change-model")
    small = tmp_path / "small.gguf"
    write_tiny_llama(small, context_length=200, chat_template=CHAT_TEMPLATE, seed=3)
    page.set_input_files("#file", small)
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
    expect(page.locator("#stat-context")).to_have_text("0 / 200")
    ask(page, "abc")
    last_answer(page)
    told = "the model's memory is full" if choice == "stop" else "longest answer reached"
    expect(page.locator(".message.assistant .stats").last).to_contain_text(told)
    expect(page.locator("#stat-context")).to_have_text(re.compile(r"^\d+ / 200$"))


def test_a_value_that_is_folded_away_says_what_is_wrong(page: Page) -> None:
    page.click("#open-settings")
    page.click("#fields summary")
    page.fill("#setting-mirostat", "7")
    page.click("#fields summary")
    expect(page.locator("#setting-mirostat")).to_be_hidden()
    page.click("#settings-form >> text=Close")
    expect(page.locator("#setting-mirostat")).to_be_focused()


OUTSIDE = """(selector) => [...document.querySelectorAll(selector)]
    .filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("width", [360, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off(browser: Browser, url: str, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#bundled-models button").first).to_be_visible()
    page.screenshot(path=PICTURES / f"start-{width}-{scheme}.png")
    assert page.evaluate(OUTSIDE, "#start *") == []
    broken = page.evaluate(
        """() => [...document.querySelectorAll(".models .name")]
            .filter((name) => name.checkVisibility() && name.offsetHeight > 60)
            .map((name) => name.textContent)"""
    )
    assert broken == []
    # the cards scroll, and the document does not
    page.set_viewport_size({"width": width, "height": 400})
    assert page.evaluate("document.documentElement.scrollHeight") == 400
    page.set_viewport_size({"width": width, "height": 800})
    open_bundled(page)
    ask(page, "abc")
    last_answer(page)
    page.screenshot(path=PICTURES / f"chat-{width}-{scheme}.png")
    outside = page.evaluate(OUTSIDE, "header *, #chat *")
    if width < 900:
        page.click("#toggle-sidebar")
    gap = page.evaluate(
        """() => document.getElementById("sidebar").getBoundingClientRect().top -
            document.querySelector("header").getBoundingClientRect().bottom"""
    )
    context.close()
    assert outside == []
    assert gap == 0


@pytest.fixture
def smollm2_page(browser: Browser, site: Path, smollm2_path: Path) -> Iterator[Page]:
    with serving(make_server(site, smollm2_path.parent)) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{address}?model=models/{smollm2_path.name}")
        expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)
        yield page
        page.close()


@pytest.mark.slow
def test_a_real_model_answers_and_remembers(smollm2_page: Page) -> None:
    page = smollm2_page
    change_settings(page, {"temperature": "0", "repetitionPenalty": "1", "maxTokens": "40"})
    ask(page, "What is the capital of Germany?")
    assert "Berlin" in last_answer(page)
    ask(page, "In which country is it?")
    assert "Germany" in last_answer(page)
    page.screenshot(path=PICTURES / "real-model.png")
