"""Models by name: addresses, the choice of a file, downloads and headers, from a hub of our own."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import gguf
import pytest
from gguf_files import write_tiny_llama
from paths import ROOT

from oxillama_web import DownloadError, InferenceEngine, InvalidRequestError
from oxillama_web.cli import main
from oxillama_web.hub import models, repository
from oxillama_web.hub.addresses import Repository, hub_endpoint, is_address, parse_address
from oxillama_web.hub.choice import RepositoryFile, candidates, choose
from oxillama_web.hub.inspection import inspect
from oxillama_web.hub.models import fetch

HUB = "https://hub.example"
COMMIT = "c" * 40
TOKEN = "hf_secret"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:owner/name", Repository("owner/name")),
        ("owner/na.me-GGUF", Repository("owner/na.me-GGUF")),
        ("owner/name:Q8_0", Repository("owner/name", quantization="Q8_0")),
        ("hf:owner/name@v1.0:f16", Repository("owner/name", "v1.0", quantization="f16")),
        ("hf:owner/name/a/b.gguf", Repository("owner/name", file="a/b.gguf")),
        (f"{HUB}/owner/name", Repository("owner/name")),
        (f"{HUB}/owner/name/tree/dev/folder", Repository("owner/name", "dev")),
        (f"{HUB}/owner/name/blob/main/a%20b.gguf?x=1", Repository("owner/name", file="a b.gguf")),
        (f"{HUB}/owner/name/resolve/dev/a/b.gguf", Repository("owner/name", "dev", "a/b.gguf")),
        ("https://hf.co/owner/name/", Repository("owner/name")),
        ("https://elsewhere.example/a/b.gguf", "https://elsewhere.example/a/b.gguf"),
    ],
)
def test_addresses(text: str, expected: object) -> None:
    assert is_address(text)
    assert parse_address(text, HUB) == expected


@pytest.mark.parametrize(
    "text", ["hf:", "hf:name", "hf:a/b/c", "hf:a/b:", f"{HUB}/a", f"{HUB}/a/b/discussions"]
)
def test_addresses_that_name_nothing(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="owner/name"):
        parse_address(text, HUB)


def test_what_is_a_file_and_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(map(is_address, ["model", "folder/model.gguf", "/a/b", "./a/b", "a/b/c"]))
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert hub_endpoint() == "https://mirror.example"
    assert hub_endpoint(HUB) == HUB
    with pytest.raises(InvalidRequestError, match="http"):
        hub_endpoint("file:///etc")


def files(*names: str) -> list[RepositoryFile]:
    """Files of 100 bytes, or of as many as the name says after a colon."""
    parts = [name.partition(":") for name in names]
    return [RepositoryFile(name, int(size or 100), "") for name, _, size in parts]


@pytest.mark.parametrize(
    ("names", "asked", "chosen"),
    [
        (["m-Q8_0.gguf", "m-q4_k_m.gguf", "m.BF16.gguf"], {}, "m-q4_k_m.gguf"),
        (["m-Q8_0.gguf", "m-Q5_K_M.gguf"], {}, "m-Q5_K_M.gguf"),
        (["m-Q4_0.gguf", "m-UD-Q4_K_XL.gguf"], {}, "m-UD-Q4_K_XL.gguf"),
        (["m-f16.gguf", "m.gguf"], {}, "m-f16.gguf"),
        (["mmproj-Q4_K_M.gguf", "m-Q2_K.gguf", "README.md", "m.imatrix.gguf"], {}, "m-Q2_K.gguf"),
        (["Q4_K_M/m-00001-of-00001.gguf", "m-Q8_0.gguf"], {}, "Q4_K_M/m-00001-of-00001.gguf"),
        (["m-Q4_K_M-00001-of-00002.gguf", "m-Q8_0.gguf"], {}, "m-Q8_0.gguf"),
        (["m-Q4_K_M.gguf", "m-fp16.gguf"], {"quantization": "f16"}, "m-fp16.gguf"),
        (["m-UD-Q2_K.gguf", "m-Q2_K.gguf"], {"quantization": "q2_k"}, "m-Q2_K.gguf"),
        (["m-UD-Q2_K.gguf"], {"quantization": "q2_k"}, "m-UD-Q2_K.gguf"),
        (["m-Q4_K_M.gguf", "a/x.gguf"], {"file": "a/x.gguf"}, "a/x.gguf"),
        (["m-Q4_0.gguf", "m-Q3_K_S.gguf:9", "m-Q2_K.gguf:4"], {"max_bytes": 9}, "m-Q3_K_S.gguf"),
        (["m-Q4_K_M.gguf:900", "m-Q2_K.gguf:700"], {"max_bytes": 600}, "m-Q2_K.gguf"),
    ],
)  # fmt: skip
def test_the_choice_of_a_file(names: list[str], asked: dict[str, object], chosen: str) -> None:
    assert choose(files(*names), **asked).files[0].path == chosen  # type: ignore[arg-type]


def test_choices_that_cannot_be_made() -> None:
    with pytest.raises(InvalidRequestError, match=r"no Q8_0; it has Q4_0, F16"):
        choose(files("m-F16.gguf", "m-Q4_0.gguf"), quantization="Q8_0")
    with pytest.raises(InvalidRequestError, match=r"no model 'x.gguf'; it has Q4_0"):
        choose(files("m-Q4_0.gguf"), file="x.gguf")
    with pytest.raises(InvalidRequestError, match="no GGUF file"):
        choose(files("model.safetensors"))


def test_parts_are_in_their_order() -> None:
    names = [f"m-Q8_0-{n:05}-of-00003.gguf" for n in (3, 1, 2)]
    [found] = candidates(files(*names))
    assert [file.path for file in found.files] == sorted(names)
    assert found.size == 300


@dataclass
class Hub:
    """A server with one repository, "owner/name", whose files are sent by another server."""

    url: str = ""
    cdn: str = ""
    contents: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    sha256: dict[str, str] = field(default_factory=dict)
    tokens: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0

    def listing(self) -> dict[str, object]:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "lfs": {
                    "size": len(data),
                    "sha256": self.sha256.get(name) or hashlib.sha256(data).hexdigest(),
                },
            }
            for name, data in self.contents.items()
        ]
        return {"id": "owner/name", "sha": COMMIT, "siblings": siblings}


class Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    is_cdn = False

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = self.headers["Authorization"]
        self.hub.tokens.append(("cdn" if self.is_cdn else "hub", token))
        if not self.is_cdn and self.hub.private and token != f"Bearer {TOKEN}":
            self.send_error(401)
        elif path == "/api/models/owner/name/revision/main":
            self.answer(json.dumps(self.hub.listing()).encode())
        elif (name := path.removeprefix(f"/owner/name/resolve/{COMMIT}/")) in self.hub.contents:
            self.redirect(name, self.hub.contents[name])
        elif self.is_cdn and path[1:] in self.hub.contents:
            self.answer(self.hub.contents[path[1:]])
        else:
            self.send_error(404)

    def redirect(self, name: str, data: bytes) -> None:
        self.send_response(302)
        self.send_header("Location", f"{self.hub.cdn}/{name}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, data: bytes) -> None:
        start, end = 0, len(data)
        if asked := self.headers["Range"]:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end - 1) + 1, end)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", '"one"')
        self.end_headers()
        if self.command == "GET":
            self.hub.sent += end - start
            self.wfile.write(data[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    write_tiny_llama(tmp_path / "tiny.gguf")
    hub.contents = {"tiny-Q8_0.gguf": (tmp_path / "tiny.gguf").read_bytes(), "README.md": b"# Tiny"}
    servers = []
    for is_cdn in (False, True):
        handler = type("H", (Handler,), {"hub": hub, "is_cdn": is_cdn})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
    hub.url, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("OXILLAMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    # the library's cache has a test of its own
    monkeypatch.setattr(repository, "_has_hub_library", lambda: False)
    yield hub
    for server in servers:
        server.shutdown()
        server.server_close()


def test_fetch_by_name_and_again_without_a_network(hub: Hub) -> None:
    path = fetch("hf:owner/name")
    assert path.name == "tiny-Q8_0.gguf"
    assert path.read_bytes() == hub.contents["tiny-Q8_0.gguf"]
    with InferenceEngine(path) as engine:
        assert engine.is_loaded
    sent = hub.sent
    assert fetch(f"{hub.url}/owner/name/blob/main/tiny-Q8_0.gguf") == path
    assert hub.sent - sent == len(json.dumps(hub.listing())), "the file came again"
    hub.contents["tiny-Q8_0.gguf"] = b"GGUF of the same name"
    assert fetch("owner/name") != path


def test_fetch_without_a_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    path = fetch("owner/name")
    monkeypatch.setattr(repository.urllib.request, "urlopen", no_network)
    assert fetch("owner/name") == path
    with pytest.raises(DownloadError, match=r"cannot reach the model hub .* no network"):
        fetch("owner/other")


def test_an_interrupted_download_resumes(hub: Hub) -> None:
    path = fetch("owner/name")
    data = path.read_bytes()
    path.unlink()
    path.with_name(f"{path.name}.part").write_bytes(data[:1000])
    sent = hub.sent
    assert fetch("owner/name").read_bytes() == data
    assert hub.sent - sent == len(data) - 1000 + len(json.dumps(hub.listing()))


def test_a_file_that_is_not_the_one_promised(hub: Hub) -> None:
    hub.sha256["tiny-Q8_0.gguf"] = "0" * 64
    with pytest.raises(DownloadError, match="SHA-256"):
        fetch("owner/name")
    assert list(models.cache_directory().rglob("*.gguf")) == []


def test_parts_come_together(hub: Hub) -> None:
    hub.contents = {f"big-Q4_0-{n:05}-of-00002.gguf": b"GGUF%d" % n for n in (1, 2)}
    path = fetch("owner/name:Q4_0")
    assert path.name == "big-Q4_0-00001-of-00002.gguf"
    assert path.with_name("big-Q4_0-00002-of-00002.gguf").read_bytes() == b"GGUF2"
    first = f"{hub.cdn}/{path.name}"
    other = fetch(first)
    assert other.with_name("big-Q4_0-00002-of-00002.gguf").read_bytes() == b"GGUF2"


def test_a_private_repository(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.private = True
    with pytest.raises(DownloadError, match=r"private .*HF_TOKEN"):
        fetch("owner/name")
    with pytest.raises(DownloadError) as refused:
        fetch("owner/name", token="hf_wrong")
    assert "hf_wrong" not in str(refused.value)
    assert fetch("owner/name", token=TOKEN).is_file()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert inspect("owner/name").is_supported
    assert {token for server, token in hub.tokens if server == "cdn"} == {None}
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err
    kept = [path for path in models.cache_directory().rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in kept)


def test_the_cache_of_huggingface_hub_is_shared(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("huggingface_hub")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(repository, "_has_hub_library", lambda: True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "shared"))
    path = fetch("owner/name")
    assert path == Path(
        library.try_to_load_from_cache("owner/name", "tiny-Q8_0.gguf", revision=COMMIT)
    )
    assert path.read_bytes() == hub.contents["tiny-Q8_0.gguf"]
    sent = hub.sent
    assert fetch("owner/name") == path
    assert hub.sent - sent == len(json.dumps(hub.listing()))


def test_inspect_reads_the_header_only(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    name = "tiny-Q8_0.gguf"
    header = hub.contents[name]
    hub.contents[name] = header + bytes(4 << 20)
    for address in ("hf:owner/name", f"{hub.cdn}/{name}"):
        hub.sent = 0
        report = inspect(address)
        assert hub.sent < 2 << 20
        assert report.is_supported
        assert (report.architecture, report.context) == ("llama", 256)
        assert report.memory_bytes > sum(t.nbytes for t in report.gguf.tensors.values())
        assert report.size == len(hub.contents[name])
    assert main(["info", "owner/name"]) == 0
    told = capsys.readouterr().out
    assert "runs here      yes" in told and "with a context of 256 tokens" in told


def test_inspect_tells_why_a_model_does_not_run(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = gguf.GGUFWriter(tmp_path / "new.gguf", "newfangled")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    hub.contents = {"new-F16.gguf": (tmp_path / "new.gguf").read_bytes()}
    report = inspect("owner/name")
    assert not report.is_supported
    assert "newfangled" in report.problem
    assert main(["info", "owner/name"]) == 0
    assert "no: the model's architecture 'newfangled'" in capsys.readouterr().out
    hub.contents = {"new-F16.gguf": b"<html>" * 100}
    assert main(["info", "owner/name"]) == 1
    assert main(["info", "owner/missing"]) == 1
    assert main(["info", f"{hub.cdn}/missing.gguf"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_the_models_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == 0
    told = capsys.readouterr().out
    for model in models.MODELS.values():
        assert all(text in told for text in (model.name, model.licence, model.good_for))
        assert sum(part.size for part in model.parts) == model.size
        row = (
            f"| `{model.name}` | {model.size / 1e6:.0f} MB | {model.architecture} | "
            f"{model.context} | {model.good_for} | {model.licence} |"
        )
        assert row in (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
