"""web/oxillama.js and its worker, in Chromium."""

from __future__ import annotations

import pytest
from browser_helpers import (
    COLLECT,
    GREEDY,
    LARGER,
    LONG,
    TINY_BASE,
    assert_workers_end,
    call,
)
from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]


def test_a_prompt_streams_in_pieces_and_leaves_statistics(page: Page) -> None:
    result = call(
        page,
        """
        const progress = [];
        const llm = await OxiLlama.load({ model: tinyUrl, onProgress: (p) => progress.push(p) });
        const pieces = [], prefill = [];
        const options = { temperature: 0, maxTokens: 12, onPrefill: (...x) => prefill.push(x) };
        for await (const piece of llm.generate("abc abc", options)) pieces.push(piece);
        const { info, stats } = llm;
        llm.dispose();
        return { info, stats, pieces, prefill, progress };
        """,
    )
    assert result.get("code") is None, result
    stats, info = result["stats"], result["info"]
    assert len(result["pieces"]) > 1
    assert 0 < stats["tokens"] <= 12
    assert stats["finishReason"] in ("length", "stop")
    assert stats["promptTokens"] == result["prefill"][-1][0] == result["prefill"][-1][1] > 0
    assert 0 < stats["timeToFirstToken"] < 60_000
    assert info["architecture"] == "llama"
    assert info["kernels"] in ("relaxed", "relaxed-pairs")
    assert info["kernels"] in info["executor"]
    assert info["startup"]["snapshot"] is True
    downloaded = [p for p in result["progress"] if p["phase"] == "download"]
    assert downloaded[-1]["bytes"] == downloaded[-1]["total"] > 0
    assert downloaded[-1]["secondsLeft"] == 0
    assert {p["phase"] for p in result["progress"]} == {"runtime", "download", "load"}


def test_every_kind_of_source_gives_the_same_answer(page: Page, faults: str) -> None:
    result = call(
        page,
        COLLECT
        + f"""
        const bytes = await (await fetch(tinyUrl)).arrayBuffer();
        const sources = {{
            address: tinyUrl,
            url: new URL(tinyUrl, location.href),
            elsewhere: faults + "whole",
            brokenOff: faults + "flaky",
            unknownLength: faults + "without-length",
            blob: new Blob([bytes]),
            file: new File([bytes], "tiny.gguf"),
            buffer: bytes.slice(0),
            stream: new Blob([bytes]).stream(),
            response: (await fetch(tinyUrl)).body,
        }};
        const answers = {{}};
        for (const [name, model] of Object.entries(sources)) {{
            const llm = await OxiLlama.load({{ model }});
            answers[name] = await collect(llm.generate("abc", {GREEDY}));
            llm.dispose();
        }}
        return {{ answers, moved: sources.buffer.byteLength }};
        """,
        faults=faults,
    )
    assert result.get("code") is None, result
    assert len(result["answers"]) == 10
    assert len(set(result["answers"].values())) == 1
    assert result["answers"]["address"]
    assert result["moved"] == 0


def test_stop_ends_the_answer_at_once_and_the_next_one_works(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + f"""
        const llm = await OxiLlama.load({{ model: tinyUrl }});
        const stop = new AbortController();
        let pieces = 0;
        const options = {{ {LONG}, signal: stop.signal }};
        for await (const piece of llm.generate("abc", options)) {{
            pieces += 1;
            if (pieces === 2) stop.abort();
        }}
        const stopped = llm.stats;
        await llm.reset();
        const second = await collect(llm.generate("abc", {GREEDY}));
        const after = llm.stats;
        llm.dispose();
        return {{ pieces, stopped, second, after }};
        """,
    )
    assert result.get("code") is None, result
    assert result["stopped"]["finishReason"] == "aborted"
    assert 2 <= result["stopped"]["tokens"] < 2000
    assert result["second"]
    assert result["after"]["finishReason"] in ("length", "stop")


def test_leaving_the_loop_stops_the_answer(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + f"""
        const llm = await OxiLlama.load({{ model: tinyUrl }});
        for await (const piece of llm.generate("abc", {{ {LONG} }})) break;
        const left = llm.stats;
        const second = await collect(llm.generate("abc", {GREEDY}));
        llm.dispose();
        return {{ left, second }};
        """,
    )
    assert result.get("code") is None, result
    assert result["left"]["finishReason"] == "aborted"
    assert result["second"]


def test_a_signal_that_was_aborted_before_gives_no_text(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + """
        const llm = await OxiLlama.load({ model: tinyUrl });
        const text = await collect(llm.generate("abc", { signal: AbortSignal.abort() }));
        const { stats } = llm;
        llm.dispose();
        return { text, stats };
        """,
    )
    assert result["text"] == ""
    assert result["stats"]["finishReason"] == "aborted"


def test_the_same_seed_gives_the_same_text(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + """
        const llm = await OxiLlama.load({ model: tinyUrl });
        const texts = [];
        for (const seed of [7, 7, 8, undefined, undefined]) {
            await llm.reset();
            texts.push(await collect(llm.generate("abc", {
                temperature: 1, topK: 0, topP: 1, minP: 0, maxTokens: 20, seed })));
        }
        llm.dispose();
        return texts;
        """,
    )
    assert result[0] == result[1]
    assert len({result[0], *result[2:]}) == 4


def test_chat_uses_the_template_and_sees_the_whole_conversation(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + f"""
        const llm = await OxiLlama.load({{ model: tinyUrl }});
        const messages = [{{ role: "user", content: "abc" }}];
        const first = await collect(llm.chat(messages, {GREEDY}));
        const firstTokens = llm.stats.promptTokens;
        messages.push({{ role: "assistant", content: first }}, {{ role: "user", content: "b" }});
        const prompt = await llm.renderChat(messages);
        await collect(llm.chat(messages, {GREEDY}));
        const again = llm.stats.promptTokens;
        const whole = (await llm.tokenize(prompt)).length;
        llm.dispose();
        return {{ prompt, first, firstTokens, again, whole }};
        """,
    )
    assert result.get("code") is None, result
    expected = f"user: abc\nassistant: {result['first']}\nuser: b\nassistant: "
    assert result["prompt"] == expected
    # what the cache holds of the conversation is not computed again
    assert 0 < result["again"] < result["whole"]
    assert result["firstTokens"] > 0


def test_a_model_without_a_chat_template_says_so(page: Page) -> None:
    result = call(
        page,
        """
        const llm = await OxiLlama.load({ model: "models/" + file });
        try {
            await llm.chat([{ role: "user", content: "abc" }]).next();
        } finally {
            llm.dispose();
        }
        """,
        file=TINY_BASE,
    )
    assert result["code"] == "chat_template"
    assert "chat template" in result["message"]


def test_python_can_start_before_a_model_is_chosen(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + f"""
        OxiLlama.prepare();
        OxiLlama.prepare();
        await new Promise((resolve) => setTimeout(resolve, 300));
        const llm = await OxiLlama.load({{ model: tinyUrl }});
        const text = await collect(llm.generate("abc", {GREEDY}));
        const {{ startup }} = llm.info;
        llm.dispose();
        return {{ text, startup }};
        """,
    )
    assert result["text"]
    startup = result["startup"]
    assert 0 < startup["runtime"] <= startup["download"] <= startup["ready"]
    assert_workers_end(page)


def test_tokenize_and_reset(page: Page) -> None:
    result = call(
        page,
        """
        const llm = await OxiLlama.load({ model: tinyUrl });
        const ids = await llm.tokenize("abc");
        await llm.reset();
        const { stats } = llm;
        llm.dispose();
        return { ids, stats };
        """,
    )
    assert result["ids"]
    assert all(isinstance(token, int) for token in result["ids"])
    assert result["stats"] is None


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("missing", "http", "404"),
        ("broken-server", "http", "503"),
        ("forbidden", "network", "does not let this page read it"),
        ("truncated", "network", "connection failed"),
        ("changed", "network", "changed on its server"),
        ("web-page", "not_gguf", "GGUF"),
    ],
)
def test_a_bad_download_is_told_in_words(
    page: Page, faults: str, path: str, code: str, words: str
) -> None:
    result = call(page, "await OxiLlama.load({ model: address });", address=faults + path)
    assert result["name"] == "OxiLlamaError"
    assert result["code"] == code
    assert words in result["message"]
    assert result.get("status") == (int(words) if code == "http" else None)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("new Blob([bytes.slice(0, bytes.byteLength / 2)])", "bad_model"),
        ("new Blob([bytes.slice(0, 100)])", "bad_model"),
        ("new Blob(['GGUF', new Uint8Array([3, 0, 0, 0]), new Uint8Array(1000).fill(255)])",
         "bad_model"),
        ("new Blob(['GG'])", "not_gguf"),
        ("new Blob([])", "not_gguf"),
        ("new Blob(['no model'])", "not_gguf"),
        ("12", "invalid_request"),
        ("'http://['", "invalid_request"),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_in_words(page: Page, script: str, code: str) -> None:
    result = call(
        page,
        f"""
        const bytes = await (await fetch(tinyUrl)).arrayBuffer();
        await OxiLlama.load({{ model: {script} }});
        """,
    )
    assert result["name"] == "OxiLlamaError"
    assert result["code"] == code
    assert "Traceback" not in result["message"]
    if code == "bad_model":
        assert result["message"].startswith("ModelFormatError: ")
        assert "Traceback" in result["detail"]


def test_answers_wait_for_their_turn(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + """
        const llm = await OxiLlama.load({ model: tinyUrl });
        const alone = [];
        for (const prompt of ["abc", "the fox"]) {
            alone.push(await collect(llm.generate(prompt, { temperature: 0, maxTokens: 20 })));
            await llm.reset();
        }
        const order = [];
        const ask = async (name, work) => {
            const value = await work;
            order.push(name);
            return value;
        };
        const stop = new AbortController();
        const answers = [
            ask("first", collect(llm.generate("abc", { temperature: 0, maxTokens: 20 }))),
            ask("reset", llm.reset()),
            ask("second", collect(llm.generate("the fox", { temperature: 0, maxTokens: 20 }))),
            ask("stopped", collect(llm.generate("dog", { signal: stop.signal }))),
            ask("ids", llm.tokenize("abc")),
        ];
        stop.abort();
        const [first, , second, stopped, ids] = await Promise.all(answers);
        llm.dispose();
        return { alone, first, second, stopped, ids, order };
        """,
    )
    assert result.get("code") is None, result
    assert [result["first"], result["second"]] == result["alone"]
    assert result["stopped"] == ""
    assert result["ids"]
    assert result["order"] == ["first", "reset", "second", "stopped", "ids"]


def test_two_models_at_once(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + f"""
        const load = (model) => OxiLlama.load({{ model, threads: 1 }});
        const [one, other] = await Promise.all([load(tinyUrl), load("models/" + larger)]);
        const ask = (llm) => collect(llm.generate("abc", {GREEDY}));
        const both = await Promise.all([ask(one), ask(other)]);
        one.dispose();
        await other.reset();
        const alone = await ask(other);
        other.dispose();
        return {{ both, alone, sizes: [one.info.hiddenSize, other.info.hiddenSize] }};
        """,
        larger=LARGER,
    )
    assert result.get("code") is None, result
    assert result["both"][1] == result["alone"]
    assert result["sizes"] == [64, 256]
    assert_workers_end(page)


def test_loading_can_be_stopped(page: Page, faults: str) -> None:
    result = call(
        page,
        """
        const stop = new AbortController();
        await OxiLlama.load({
            model: address,
            signal: stop.signal,
            onProgress: ({ phase, bytes }) => {
                if (phase === "download" && bytes > 0) stop.abort();
            },
        });
        """,
        address=faults + "endless",
    )
    assert result["code"] == "aborted"
    assert_workers_end(page)


@pytest.mark.parametrize("options", ["{ temperature: -1 }", "{ topP: 7 }", "{ maxTokens: -5 }"])
def test_a_bad_option_is_refused_in_words(page: Page, options: str) -> None:
    result = call(
        page,
        f"""
        const llm = await OxiLlama.load({{ model: tinyUrl }});
        try {{
            await llm.generate("abc", {options}).next();
        }} finally {{
            llm.dispose();
        }}
        """,
    )
    assert result["code"] == "invalid_request"
    assert "must be" in result["message"]


def test_a_prompt_past_the_context_is_refused(page: Page) -> None:
    result = call(
        page,
        """
        const llm = await OxiLlama.load({ model: tinyUrl, contextSize: 8 });
        try {
            await llm.generate("abc ".repeat(50)).next();
        } finally {
            llm.dispose();
        }
        """,
    )
    assert result["code"] == "context_length"
    assert " 8" in result["message"]
