"""What the JavaScript module offers besides loading and answering, in Chromium."""

from __future__ import annotations

import base64
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from browser_helpers import TINY, call
from lora_files import changes, write_adapter
from playwright.sync_api import Page
from reranker_files import DOCUMENTS, QUERY, write_reranker

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.gguf.reader import GGUFFile

pytest_plugins = ["browser_fixtures"]
pytestmark = pytest.mark.browser

COLLECT = """
    const collect = async (stream) => {
        let text = "";
        for await (const piece of stream) text += piece;
        return text;
    };
    const told = ({ code, message }) => ({ code, message });
    const caught = (promise) => promise.then(() => null, told);
    const greedy = { temperature: 0, repetitionPenalty: 1, maxTokens: 12 };
"""
MESSAGES = [{"role": "user", "content": "the quick brown fox"}]


def run(page: Page, body: str, **values: Any) -> Any:
    script = f"{COLLECT} const llm = await OxiLlama.load({{ model: tinyUrl }}); {body}"
    result = call(page, script, **values)
    assert not (isinstance(result, dict) and "detail" in result), result
    return result


@pytest.fixture(scope="module")
def native(tiny_models: Path) -> InferenceEngine:
    """The same model in this process, with kernels of the same arithmetic."""
    engine = InferenceEngine(EngineConfig(model_path=str(tiny_models / TINY), num_threads=1))
    engine.load_model()
    return engine


def test_every_sampling_option_reaches_the_engine(page: Page) -> None:
    result = run(
        page,
        """
        const base = { temperature: 1, topK: 0, topP: 1, repetitionPenalty: 1, seed: 7,
            maxTokens: 12 };
        const texts = {};
        const ask = async (options) => {
            await llm.reset();
            return collect(llm.generate("the fox", { ...base, ...options }));
        };
        texts.base = await ask({});
        texts.again = await ask({});
        const changes = {
            topK: 1, topP: 0.05, minP: 0.9, typicalP: 0.05, topA: 1, epsilonCutoff: 0.9,
            etaCutoff: 0.9, repetitionPenalty: 50, frequencyPenalty: 100, presencePenalty: 100,
            xtcThreshold: 0.0001, mirostat: 2, dynatempRange: 0.99, seed: 8,
            logitBias: { 40: 100 }, grammar: 'root ::= "zz"', jsonSchema: { type: "boolean" },
        };
        for (const [name, value] of Object.entries(changes)) {
            const extra = name === "xtcThreshold" ? { xtcProbability: 1 } : {};
            texts[name] = await ask({ [name]: value, ...extra });
        }
        texts.stages = await ask({ temperature: 0.01, stages: ["top_k"] });
        texts.banned = await ask({ bannedTokens: await llm.tokenize(texts.base) });
        texts.refused = (await caught(ask({ topP: 3 }))).message;
        return texts;
        """,
    )
    base = result.pop("base")
    assert result.pop("again") == base
    assert result.pop("grammar") == "zz"
    assert json.loads(result.pop("jsonSchema")) in (True, False)
    assert "top_p" in result.pop("refused")
    assert result.pop("stages") == base  # no temperature is applied
    assert base not in result.values(), [name for name, text in result.items() if text == base]


def test_an_unknown_option_is_refused_and_nothing_runs(page: Page) -> None:
    result = run(
        page,
        """
        return [
            await caught(collect(llm.generate("abc", { temprature: 0 }))),
            await caught(collect(llm.chat(messages, { max_tokens: 3 }))),
            await caught(llm.embed(["abc"], { normalise: true })),
            await caught(llm.loadLora(new Uint8Array(8), { weight: 2 })),
            await caught(OxiLlama.load({ model: tinyUrl, context: 64 })),
            llm.stats,
        ];
        """,
        messages=MESSAGES,
    )
    assert result.pop() is None
    assert {error["code"] for error in result} == {"invalid_request"}
    assert [error["message"] for error in result] == [
        'generate: unknown option "temprature"; did you mean "temperature"?',
        'chat: unknown option "max_tokens"; did you mean "maxTokens"?',
        'embed: unknown option "normalise"; did you mean "normalize"?',
        'loadLora: unknown option "weight"',
        'load: unknown option "context"',
    ]


def test_tokens_are_counted_while_they_are_decoded(page: Page) -> None:
    """Also those whose text is held back, since it may be the beginning of a stop text."""
    result = run(
        page,
        """
        const counts = [];
        const onDecode = (tokens) => counts.push(tokens);
        const ask = async (options) => {
            counts.length = 0;
            const pieces = [];
            const all = { ...greedy, maxTokens: 40, ...options, onDecode };
            for await (const piece of llm.generate("the fox", all)) pieces.push(piece);
            await llm.reset();
            return pieces;
        };
        const whole = (await ask({})).join("");
        const pieces = await ask({ stop: [whole.slice(2, 12) + "\\0"] });
        return { pieces, counts, whole };
        """,
    )
    assert "".join(result["pieces"]) == result["whole"]
    counts = result["counts"]
    assert len(counts) == len(result["pieces"]) < counts[-1] <= 40
    assert counts == sorted(counts)


def test_stop_texts_and_log_probabilities(page: Page, native: InferenceEngine) -> None:
    result = run(
        page,
        """
        const tokens = [];
        const whole = await collect(llm.generate("the fox", {
            ...greedy, logprobs: 3, onLogprobs: (token) => tokens.push(token),
        }));
        await llm.reset();
        const stop = whole.slice(3, 5);
        const cut = await collect(llm.generate("the fox", { ...greedy, stop: [stop] }));
        return { told: tokens, whole, stop, cut, reason: llm.stats.finishReason };
        """,
    )
    assert result["cut"] == result["whole"][: result["whole"].index(result["stop"])]
    assert result["reason"] == "stop"
    native.reset()
    greedy = SamplerConfig.greedy()
    expected = [
        event.logprobs
        for event in native.events("the fox", 12, sampler=greedy, logprobs=3)
        if event.logprobs is not None
    ]
    assert len(result["told"]) == len(expected)
    written = bytes(b for token in result["told"] for b in token["bytes"])
    assert written.decode(errors="replace").strip() == result["whole"].strip()
    for told, one in zip(result["told"], expected, strict=True):
        assert told["logprob"] == pytest.approx(one.chosen, abs=0.15)
        assert [math.exp(t["logprob"]) for t in told["top"]] == pytest.approx(
            [math.exp(p) for _, p in one.top], abs=0.1
        )
        assert told["top"][0]["logprob"] == told["logprob"]


def test_counting_and_embedding(page: Page, native: InferenceEngine) -> None:
    result = run(
        page,
        """
        await collect(llm.generate("the fox", greedy));
        const before = llm.stats.contextTokens;
        return {
            text: await llm.countTokens("the quick brown fox"),
            chat: await llm.countTokens(messages),
            vectors: await llm.embed(["the fox", "", "the dog"]),
            mean: await llm.embed(["the fox"], { pooling: "mean", normalize: false }),
            metrics: await llm.metrics(),
            before,
            refused: await caught(llm.embed(["a"], { pooling: "sum" })),
            ranked: await caught(llm.rerank("fox", ["dog"], { topN: 1 })),
        };
        """,
        messages=MESSAGES,
    )
    assert result["text"] == len(native.tokenize("the quick brown fox"))
    assert result["chat"] == len(native.tokenize_chat(MESSAGES))
    fox, nothing, dog = result["vectors"]
    expected = native.embed_batch(["the fox", "", "the dog"])
    assert fox == pytest.approx(expected[0], abs=0.05)
    assert dog == pytest.approx(expected[2], abs=0.05)
    assert set(nothing) == {0}
    assert math.hypot(*fox) == pytest.approx(1)
    assert result["mean"][0] == pytest.approx(
        native.embed("the fox", "mean", normalize=False), abs=0.1
    )
    assert result["refused"]["code"] == "invalid_request"
    assert result["ranked"]["code"] == "unsupported_model"
    assert "no reranker" in result["ranked"]["message"]
    assert re.search(r"^oxillama_requests_started_total(\{\})? 1", result["metrics"], re.M)


def test_ranking(page: Page, tmp_path: Path) -> None:
    write_reranker(tmp_path / "bert.gguf", "bert", "Q8_0")
    data = base64.b64encode((tmp_path / "bert.gguf").read_bytes()).decode()
    result = call(
        page,
        f"""
        {COLLECT}
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        const llm = await OxiLlama.load({{ model: bytes.buffer }});
        return {{
            isReranker: llm.info.isReranker,
            ranked: await llm.rerank(query, documents, {{ topN: 3 }}),
            api: await llm.openai.rerank.create({{ query, documents, top_n: 1 }}),
            chat: await caught(collect(llm.generate("the fox", greedy))),
        }};
        """,
        data=data,
        query=QUERY,
        documents=DOCUMENTS,
    )
    with InferenceEngine(EngineConfig(str(tmp_path / "bert.gguf"))) as engine:
        expected = engine.rerank(QUERY, DOCUMENTS, 3)
    assert result["isReranker"]
    assert [each["index"] for each in result["ranked"]] == [each.index for each in expected]
    for found, each in zip(result["ranked"], expected, strict=True):
        assert found["relevanceScore"] == pytest.approx(each.relevance_score, abs=0.02)
    assert result["api"]["results"][0]["index"] == expected[0].index
    assert result["chat"]["code"] == "unsupported_model"


def test_a_session_goes_on_after_a_reload(page: Page) -> None:
    first = run(
        page,
        """
        const one = await collect(llm.chat(messages, greedy));
        const bytes = await llm.saveConversation();
        const longer = [...messages, { role: "assistant", content: one },
            { role: "user", content: "dog" }];
        const two = await collect(llm.chat(longer, greedy));
        sessionStorage.setItem("saved", JSON.stringify([...bytes]));
        return { longer, two, promptTokens: llm.stats.promptTokens };
        """,
        messages=MESSAGES,
    )
    page.reload()
    second = run(
        page,
        """
        const bytes = new Uint8Array(JSON.parse(sessionStorage.getItem("saved")));
        await llm.restoreConversation(bytes);
        const two = await collect(llm.chat(longer, greedy));
        const { promptTokens } = llm.stats;
        bytes[100] ^= 1;
        const damaged = await caught(llm.restoreConversation(bytes));
        const none = await caught(llm.restoreConversation(new Uint8Array(5)));
        return { two, promptTokens, damaged, none, after: llm.stats.contextTokens };
        """,
        longer=first["longer"],
    )
    assert second["two"] == first["two"]
    # the first turn was not computed again
    assert second["promptTokens"] == first["promptTokens"] < 40
    assert second["damaged"]["code"] == second["none"]["code"] == "invalid_request"


def test_adapters(page: Page, tiny_models: Path, tmp_path: Path) -> None:
    model = GGUFFile((tiny_models / TINY).read_bytes())
    write_adapter(tmp_path / "adapter.gguf", changes(model, seed=1), alpha=32.0)
    result = run(
        page,
        """
        const ask = async () => {
            await llm.reset();
            return collect(llm.generate("the fox", greedy));
        };
        const file = new Uint8Array(adapter);
        const texts = [await ask()];
        await llm.loadLora(new Blob([file]));
        texts.push(await ask());
        await llm.clearLoras();
        texts.push(await ask());
        await llm.loadLora(file, { scale: 1 });
        texts.push(await ask());
        const refused = await caught(llm.loadLora(new Uint8Array([1, 2, 3])));
        const missing = await caught(llm.loadLora("models/missing.gguf"));
        return { texts, refused, missing };
        """,
        adapter=list((tmp_path / "adapter.gguf").read_bytes()),
    )
    plain, adapted, cleared, again = result["texts"]
    assert plain == cleared != adapted == again
    assert result["refused"]["code"] == "bad_model"
    assert result["missing"]["code"] == "http"


def test_what_happens_when_the_context_is_full(page: Page) -> None:
    result = call(
        page,
        COLLECT
        + """
        const answer = async (options) => {
            const llm = await OxiLlama.load({ model: tinyUrl, contextSize: 24, ...options });
            const text = await collect(llm.generate("the fox", { ...greedy, maxTokens: 60 }));
            const { info, stats } = llm;
            llm.dispose();
            return { text, size: info.contextSize, ...stats };
        };
        const wrong = [
            { contextFull: "roll" }, { contextKeep: -1 }, { contextKeep: 2.5 }, { contextSize: 0 },
            { contextFull: "shift", contextKeep: 23 },
        ];
        const refused = [];
        for (const options of wrong) refused.push(await caught(answer(options)));
        return {
            stop: await answer({}),
            shift: await answer({ contextFull: "shift", contextKeep: 4 }),
            paged: await answer({ contextFull: "shift", contextKeep: 4, memoryBudget: 1e8 }),
            refused,
        };
        """,
    )
    stop, shift = result["stop"], result["shift"]
    assert (stop["finishReason"], shift["finishReason"]) == ("context", "length")
    assert (shift["tokens"], shift["size"]) == (60, 24)
    assert shift["contextTokens"] <= 24
    assert shift["text"].startswith(stop["text"].rstrip("\ufffd"))
    assert result["paged"]["text"] == shift["text"]
    assert {error["code"] for error in result["refused"]} == {"invalid_request"}
    messages = [error["message"] for error in result["refused"]]
    for words, message in zip(
        ['contextFull is "roll"', "contextKeep is -1", "is 2.5", "contextSize is 0", "keep fewer"],
        messages,
        strict=True,
    ):
        assert words in message


def test_tools_and_variables_reach_the_template(page: Page) -> None:
    result = run(
        page,
        """
        await collect(llm.chat(messages, { ...greedy, tools: [{ name: "x" }],
            variables: { mood: "warm" } }));
        return llm.stats.promptTokens;
        """,
        messages=MESSAGES,
    )
    assert result > 0
