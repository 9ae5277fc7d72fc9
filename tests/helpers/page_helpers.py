"""What a person does on the demo page."""

from __future__ import annotations

from browser_helpers import LOAD_TIMEOUT_MS, TINY
from playwright.sync_api import Page, expect


def open_bundled(page: Page, file: str = TINY) -> None:
    page.locator("#bundled-models button", has_text=file.removesuffix(".gguf")).click()
    expect(page.locator("#prompt")).to_be_focused(timeout=LOAD_TIMEOUT_MS)


def ask(page: Page, text: str) -> None:
    page.fill("#prompt", text)
    page.keyboard.press("Enter")


def last_answer(page: Page) -> str:
    """The text of the last answer, once it is whole."""
    answer = page.locator(".message.assistant").last
    expect(answer).to_have_attribute("aria-busy", "false", timeout=LOAD_TIMEOUT_MS)
    return answer.locator(".text").text_content() or ""


def change_settings(page: Page, values: dict[str, str]) -> None:
    page.click("#open-settings")
    page.evaluate("document.querySelector('#fields details').open = true")
    for name, value in values.items():
        page.fill(f"#setting-{name}", value)
    page.keyboard.press("Escape")
    expect(page.locator("#settings")).to_be_hidden()
