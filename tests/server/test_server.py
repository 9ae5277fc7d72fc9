"""The server over real connections: OpenAI's own client, many at once, and those that misbehave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import openai
import pytest
import uvicorn
from gguf_files import write_tiny_llama

from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
from oxillama_web.server.app import create_app
from oxillama_web.server.config import ServerConfig

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }};{% endfor %}"
KEY = "a secret"
LIMITS = ServerConfig(api_keys=(KEY,), max_body_bytes=100_000, max_running=4, max_waiting=40)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferenceEngine]:
    path = tmp_path_factory.mktemp("server") / "tiny.gguf"
    write_tiny_llama(path, context_length=2048, chat_template=TEMPLATE)
    config = EngineConfig(model_path=str(path), num_threads=1, sampler=SamplerConfig.greedy())
    engine = InferenceEngine(config)
    engine.load_model()
    engine.tokenizer.eog_ids = frozenset()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def address(engine: InferenceEngine) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(engine, LIMITS), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def n_requests(address: str) -> int:
    return httpx.get(f"{address}/health").json()["requests"]


def wait_until_idle(address: str) -> None:
    deadline = time.monotonic() + 20
    while n_requests(address):
        assert time.monotonic() < deadline, "a request is never freed"
        time.sleep(0.05)


def test_openai_s_client(client: openai.OpenAI, engine: InferenceEngine) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).owned_by == "llama"
    hi = [{"role": "user", "content": "hi"}]
    whole = client.chat.completions.create(model=model.id, messages=hi, max_tokens=12)
    stream = client.chat.completions.create(
        model=model.id,
        messages=hi,
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content != ""
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 12
    *_, last = client.responses.create(
        model=model.id, input="hi", max_output_tokens=12, stream=True
    )
    assert last.type == "response.incomplete" and last.response.output_text == text
    vector = client.embeddings.create(model=model.id, input="the dog").data[0].embedding
    assert vector == pytest.approx(engine.embed("the dog"), abs=1e-6)


def test_many_at_once_get_their_own_answers(client: openai.OpenAI, address: str) -> None:
    prompts = [f"the {number} quick brown" for number in range(24)]

    def complete(prompt: str) -> str:
        answer = client.completions.create(model="m", prompt=prompt, max_tokens=10)
        return answer.choices[0].text

    alone = [complete(prompt) for prompt in prompts]
    assert len(set(alone)) > 4
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(complete, prompts)) == alone
    wait_until_idle(address)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(address: str, stream: bool) -> None:
    request = {"prompt": "the", "max_tokens": 1900, "stream": stream}
    with httpx.Client(headers={"authorization": f"Bearer {KEY}"}) as connection:
        if stream:
            with connection.stream("POST", f"{address}/v1/completions", json=request) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                connection.post(f"{address}/v1/completions", json=request, timeout=0.02)
    wait_until_idle(address)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1]", 400),
        (b"[" * 50_000, 400),
        (b'{"prompt": "x", "best": 1}', 400),
        (b'{"prompt": "x", "stream": true, "n": 0}', 400),
        (json.dumps({"prompt": "x " * 5000, "stream": True}).encode(), 400),
        (b" " * 100_001, 413),
    ],
)
def test_a_wrong_request_has_a_status_and_a_reason(address: str, body: bytes, status: int) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    response = httpx.post(f"{address}/v1/completions", content=body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert n_requests(address) == 0


def test_keys_paths_and_metrics(address: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}):
        response = httpx.get(f"{address}/v1/models", headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"
    headers = {"authorization": f"Bearer {KEY}"}
    for path, status in (("/v1/nothing", 404), ("/v1/completions", 405), ("/v1/models/x", 404)):
        response = httpx.get(f"{address}{path}", headers=headers)
        assert (response.status_code, bool(response.json()["error"])) == (status, True)
    assert "# TYPE" in httpx.get(f"{address}/metrics").text
    assert httpx.get(f"{address}/docs").status_code == 200
