"""oxillama_web/browser/worker.py on CPython: what the worker calls, without a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gguf_files import write_tiny_llama
from native_pool import Download, NativePool

from oxillama_web import InvalidRequestError, errors
from oxillama_web.browser.worker import PREFILL_CHUNK_SIZE, WorkerEngine, describe

OPTIONS = {"max_tokens": 5, "sampler": {"temperature": 0, "repetition_penalty": 1}}
Step = dict[str, Any]


class Page:
    """Stands for the JavaScript side: what crosses is what JavaScript would pass and take."""

    def __init__(self) -> None:
        self.engine = WorkerEngine()

    def call(self, method: str, *arguments: Any) -> Any:
        result = self.engine.call(method, *map(encode, arguments))
        return result if isinstance(result, bytes) else json.loads(result)

    def load(self, data: bytes, **context: Any) -> dict[str, Any]:
        pool = NativePool()
        download = Download(pool, data)
        self.call("begin", pool, None, context)
        download.go_on(len(data))
        self.call("receive", download.address, len(data), len(data), [0])
        info: dict[str, Any] = self.call("load")
        return info

    def run(self) -> list[Step]:
        return list(iter(lambda: self.call("step"), None))


def encode(value: Any) -> Any:
    """As web/worker/engine_proxy.js."""
    return json.dumps(value) if isinstance(value, (str, list, dict)) else value


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    write_tiny_llama(path, chat_template=template)
    return path.read_bytes()


@pytest.fixture
def page(model: bytes) -> Page:
    page = Page()
    page.load(model)
    return page


def test_info_tells_of_the_model(model: bytes) -> None:
    info = Page().load(model)
    assert info["architecture"] == "llama"
    assert info["layers"] == 2
    assert info["memoryBytes"] > 0
    assert info["executor"] == f"pool-{info['kernels']}"


def test_a_prompt_is_computed_in_pieces_so_that_it_can_be_stopped(page: Page) -> None:
    page.call("start_generate", "abc " * 40, OPTIONS)
    events = page.run()
    prefill = [event for event in events if event["phase"] == "prefill"]
    done = [event["done"] for event in prefill]
    assert len(prefill) > 1
    assert done == sorted(done)
    assert done[0] <= PREFILL_CHUNK_SIZE
    assert done[-1] == prefill[0]["total"] == len(page.call("tokenize", "abc " * 40))


def test_an_answer_ends_with_its_reason(page: Page) -> None:
    page.call("start_generate", "abc", OPTIONS)
    events = page.run()
    assert events[-1]["finishReason"] in ("length", "stop")
    assert all(event["finishReason"] is None for event in events[:-1])
    assert page.call("step") is None


def test_stop_drops_the_answer_and_the_next_one_works(page: Page) -> None:
    page.call("start_generate", "abc", OPTIONS)
    assert page.call("step")
    page.call("stop")
    assert page.call("step") is None
    page.call("reset")
    page.call("start_generate", "abc", OPTIONS)
    assert page.run()[-1]["finishReason"] in ("length", "stop")


def test_an_answer_whose_conversation_changes_ends_with_an_error(page: Page) -> None:
    saved = page.call("save_conversation")
    for method, arguments in (("reset", ()), ("restore_conversation", (saved,))):
        page.call("start_generate", "abc", OPTIONS)
        assert page.call("step")
        page.call(method, *arguments)
        with pytest.raises(errors.ConversationChangedError):
            page.call("step")
        assert json.loads(page.engine.failure)["code"] == "conversation_changed"
        assert page.call("step") is None
    page.call("start_generate", "abc", OPTIONS)
    page.call("close")
    with pytest.raises(errors.ModelNotLoadedError):
        page.call("step")


def test_a_saved_conversation_goes_on_in_another_worker(page: Page, model: bytes) -> None:
    page.call("start_generate", "abc " * 50, OPTIONS)
    page.run()
    file = page.call("save_conversation")
    other = Page()
    other.load(model)
    other.call("restore_conversation", file)
    assert other.call("context_tokens") == page.call("context_tokens") > 50
    answers = []
    for each in (page, other):
        each.call("start_generate", "abc", OPTIONS)
        answers.append(each.run().copy())
    assert answers[0] == answers[1]
    with pytest.raises(InvalidRequestError):
        other.call("restore_conversation", file[:-1])
    assert 'requests_total{outcome="completed"} 1' in other.call("metrics")


def test_chat_renders_the_template(page: Page) -> None:
    messages = [{"role": "user", "content": "abc"}]
    assert page.call("render_chat", messages) == "<user>abc"
    page.call("start_chat", messages, OPTIONS)
    assert page.run()[-1]["finishReason"] in ("length", "stop")


def test_a_failure_is_described_without_its_traceback() -> None:
    page = Page()
    with pytest.raises(errors.ModelFormatError):
        page.load(bytes(8))
    failure = json.loads(page.engine.failure)
    assert failure["code"] == "bad_model"
    assert failure["type"] == "ModelFormatError"
    assert "\n" not in failure["message"]
    assert "Traceback" in failure["detail"]


def test_a_bad_option_is_refused_before_anything_runs(page: Page) -> None:
    with pytest.raises(errors.InvalidRequestError, match="temperature"):
        page.call("start_generate", "abc", {"sampler": {"temperature": -1}})
    assert page.call("step") is None


def test_without_a_model_everything_says_so() -> None:
    page = Page()
    for method, arguments in (
        ("receive", (64, 1, 1)),
        ("load", ()),
        ("info", ()),
        ("tokenize", ("abc",)),
        ("render_chat", ([],)),
        ("start_generate", ("abc", OPTIONS)),
        ("reset", ()),
    ):
        with pytest.raises(errors.ModelNotLoadedError):
            page.call(method, *arguments)


def test_close_lets_go_of_the_model(page: Page) -> None:
    page.call("close")
    with pytest.raises(errors.ModelNotLoadedError):
        page.call("info")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnsupportedModelError("x"), "unsupported_model"),
        (errors.TokenizerError("x"), "tokenizer"),
        (errors.ChatTemplateError("x"), "chat_template"),
        (errors.ContextLengthError("x"), "context_length"),
        (errors.ConversationChangedError("x"), "conversation_changed"),
        (errors.OutOfMemoryError("x"), "out_of_memory"),
        (errors.KernelError("x"), "kernel"),
        (errors.ThreadsLostError("x"), "worker_died"),
        (MemoryError(), "out_of_memory"),
        (ZeroDivisionError("x"), "internal"),
    ],
)
def test_every_kind_of_error_has_its_code(error: Exception, code: str) -> None:
    description = describe(error)
    assert description["code"] == code
    assert description["message"]


def test_a_context_that_is_full_slides_if_the_page_asks_for_it(model: bytes) -> None:
    page = Page()
    info = page.load(model, context_size=16, context_full="shift", context_keep=3)
    assert (info["contextLength"], info["contextSize"]) == (256, 16)
    options = {"max_tokens": 40, "sampler": {"temperature": 0}}
    page.call("start_generate", "abc", options)
    assert page.run()[-1]["finishReason"] == "length"
    stopping = Page()
    assert stopping.load(model, context_size=16)["contextSize"] == 16
    stopping.call("start_generate", "abc", options)
    assert stopping.run()[-1]["finishReason"] == "context"
    with pytest.raises(InvalidRequestError, match="context_full"):
        Page().load(model, context_full="roll")
    with pytest.raises(InvalidRequestError, match="context_keep is 15"):
        Page().load(model, context_size=16, context_full="shift", context_keep=15)
