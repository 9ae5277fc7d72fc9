"""Opens the demo page in headless Chromium, asks one question, and prints the answer as it comes.

python tools/demo_once.py --model SmolLM2 "Why is the sky blue?"
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

from chromium import FLAGS, find_chromium
from serve import SITE, cache_directory, make_server

from oxillama_web.terminal import escaped, for_stdout, run_command

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLLOW = """() => document.addEventListener("answerpiece", ({ detail }) => showPiece(detail))"""


def ask(page: Page, question: str, timeout: float) -> str:
    """Types a question, prints the answer as it comes, and returns the line about its speed.

    What is printed is the answer itself, as the page's Copy button gives it: the text that the page
    shows is rendered Markdown, whose end changes while it grows.

    Raises:
        SystemExit: the page reported an error, or the answer took longer than `timeout` seconds.
    """
    pieces: list[str] = []

    failures: list[OSError] = []

    def show_piece(piece: str) -> None:
        pieces.append(piece)
        try:
            print(for_stdout(piece), end="", flush=True)
        except OSError as error:  # playwright would hide it
            failures.append(error)

    page.expose_function("showPiece", show_piece)
    page.evaluate(FOLLOW)
    page.fill("#prompt", question)
    page.press("#prompt", "Enter")
    answer = page.locator(".message.assistant").last
    try:
        ended = page.locator(".message.assistant[aria-busy=false]")
        ended.wait_for(timeout=timeout * 1000)
    except Exception as error:
        raise SystemExit(f"\nno end of the answer within {timeout:.0f} s") from error
    if failures:
        raise failures[0]
    notice = answer.locator(".notice")
    if notice.count():
        raise SystemExit(f"\nthe page says: {escaped(notice.text_content() or '')}")
    if not pieces:
        raise SystemExit("the answer is empty")
    return answer.locator(".stats").last.text_content() or ""


def open_model(page: Page, url: str, model: str | None, timeout: float) -> float:
    """Opens the page and loads a model in it; returns the seconds until it was ready."""
    page.goto(url)
    started = time.monotonic()
    choices = page.locator("#bundled-models button")
    try:
        choices.first.wait_for(timeout=10_000)
    except Exception as error:
        raise SystemExit("the page offers no model; give --models a folder with one") from error
    choice = choices.first if model is None else choices.filter(has_text=model).first
    if choice.count() == 0:
        raise SystemExit(f"the page offers no model named {model!r}")
    choice.click()
    page.wait_for_selector("#prompt:visible, #start-error:visible", timeout=timeout * 1000)
    if page.is_visible("#start-error"):
        raise SystemExit(f"the page says: {escaped(page.text_content('#start-error') or '')}")
    return time.monotonic() - started


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", nargs="?", default="Why is the sky blue?")
    parser.add_argument(
        "--models", type=Path, default=cache_directory(), help="folder of GGUF files"
    )
    parser.add_argument("--model", help="part of the file's name; without it, the first one")
    parser.add_argument("--timeout", type=float, default=300, help="seconds, for each step")
    parser.add_argument("--screenshot", type=Path, help="where to save a picture of the page")
    arguments = parser.parse_args()
    if not (SITE / "index.html").is_file():
        raise SystemExit(f"{SITE} holds no page; run ./build_wasm.sh first")
    server = make_server(models=arguments.models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        url = f"http://127.0.0.1:{server.server_port}/"
        ready = open_model(page, url, arguments.model, arguments.timeout)
        print(f"model ready after {ready:.1f} s", file=sys.stderr)
        stats = ask(page, arguments.question, arguments.timeout)
        if arguments.screenshot is not None:
            arguments.screenshot.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=arguments.screenshot)
        browser.close()
    print(f"\n{escaped(stats)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("demo_once.py", main))
