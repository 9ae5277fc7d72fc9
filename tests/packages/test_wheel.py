"""The wheel for browsers: what is in it, and that micropip installs it in both Pyodides."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import get_pyodide_build
import pytest
from browser_helpers import TINY, serving
from get_test_wheels import MICROPIP, NUMPY, PACKAGING, get_test_wheels
from make_wheel import LIBRARIES, make_wheel
from paths import ROOT
from playwright.sync_api import Browser
from pyodide_in_node import PYODIDES, run_in_node
from serve import make_server

pytest_plugins = ["browser_fixtures"]

GENERATE = """
from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig
engine = InferenceEngine(EngineConfig(executor={executor!r}))
with open("/tmp/tiny.gguf", "rb") as file:
    engine.load_model_from_bytes(file.read())
engine.executor_name + ": " + engine.generate("abc", 8, sampler=SamplerConfig.greedy())
"""


def test_the_wheel_holds_the_package_and_its_kernels(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
        tags = archive.read(next(n for n in names if n.endswith("WHEEL"))).decode()
        for library in LIBRARIES:
            assert archive.read(f"oxillama_web/kernels/{library}.wasm")[:4] == b"\0asm"
    assert "oxillama_web/browser/worker.py" in names
    # Pyodide would open it at once, and relaxed SIMD is not everywhere
    assert [n for n in names if n.endswith((".so", ".dylib", ".dll"))] == []
    assert not any(n.startswith(("tests/", "web/", "kernels_c/")) for n in names)
    assert "Root-Is-Purelib: false" in tags
    assert re.findall(r"Tag: (.*)", tags) == [
        "py3-none-pyodide_2024_0_wasm32",
        "py3-none-pyemscripten_2026_0_wasm32",
    ]
    # micropip would look for what is required unconditionally, and a page has no NumPy
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert [r for r in required if "extra ==" not in r and "emscripten" not in r] == []


@pytest.mark.slow
def test_pyodide_build_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    python = get_pyodide_build.find_python()
    if python is None:
        pytest.skip("pyodide-build needs a newer Python than those that are here")
    environment = get_pyodide_build.get_pyodide_build(python)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in files.stdout.decode().split("\0")[:-1]:
        if not name.startswith(("kernels_c/", "tests/")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    for name in ("kernels_c", "node_modules"):
        (tmp_path / name).symlink_to(ROOT / name)
    # nothing is compiled or downloaded twice
    for name in ("wasm-kernels", "pool-kernels", "template-wheels", "snapshots"):
        shutil.copytree(ROOT / "build" / name, tmp_path / "build" / name)
    done = subprocess.run(
        ["./build_wasm.sh", "--pyodide-build"],
        cwd=tmp_path,
        env={**environment, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (other,) = (tmp_path / "dist").iterdir()
    assert other.name == wheel.name
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(other) as theirs:
        assert sorted(ours.namelist()) == sorted(theirs.namelist())
        for name in ours.namelist():
            assert ours.read(name) == theirs.read(name), name


def test_the_record_matches_the_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record_name = next(n for n in names if n.endswith("RECORD"))
        rows = list(csv.reader(archive.read(record_name).decode().splitlines()))
        assert sorted(row[0] for row in rows) == sorted(names)
        for name, digest, size in rows:
            if name == record_name:
                continue
            data = archive.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            assert digest == f"sha256={expected.decode()}"
            assert int(size) == len(data)


def test_the_same_inputs_give_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    (base,) = (ROOT / "build" / "base-wheel").glob("*.whl")
    again = make_wheel(base, ROOT / "build" / "wasm-kernels", tmp_path)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


@pytest.mark.usefixtures("wheel")
def test_a_missing_kernel_library_is_told(tmp_path: Path) -> None:
    (base,) = (ROOT / "build" / "base-wheel").glob("*.whl")
    with pytest.raises(SystemExit, match="is missing"):
        make_wheel(base, tmp_path, tmp_path / "out")


def test_the_site_names_no_other_origin(site: Path) -> None:
    """Pyodide's own files name their homepage; nothing is fetched from there (see `page`)."""
    for path in sorted(site.iterdir()):
        if path.suffix in (".html", ".css", ".js", ".json"):
            addresses = re.findall(r"https?://[^\s\"'`)<]+", path.read_text())
            assert [a for a in addresses if "example.org" not in a] == [], path.name


@pytest.mark.parametrize("pyodide", PYODIDES)
def test_micropip_installs_it_in_node(pyodide: str, wheel: Path, tiny_models: Path) -> None:
    # Node 20 knows no relaxed SIMD: the package must see that by itself
    output = generate_in_node(pyodide, wheel, tiny_models, "kernels")
    assert output.startswith("kernels-simd128: ")
    assert len(output) > len("kernels-simd128: ")


def test_the_numpy_executor_in_pyodide_computes_as_here(wheel: Path, tiny_models: Path) -> None:
    from oxillama_web import EngineConfig, InferenceEngine, SamplerConfig

    output = generate_in_node("0.27", wheel, tiny_models, "numpy", NUMPY)
    engine = InferenceEngine(EngineConfig(executor="numpy"))
    engine.load_model_from_bytes((tiny_models / TINY).read_bytes())
    assert output == "numpy: " + engine.generate("abc", 8, sampler=SamplerConfig.greedy())


def generate_in_node(pyodide: str, wheel: Path, models: Path, executor: str, *archives: str) -> str:
    code = GENERATE.format(executor=executor)
    return run_in_node(pyodide, wheel, code, {"/tmp/tiny.gguf": models / TINY}, *archives)


@pytest.fixture(scope="module")
def repository_url(tiny_models: Path) -> Iterator[str]:
    """The whole source folder over HTTP: the runtimes, the wheels, and the tiny model."""
    with serving(make_server(ROOT, tiny_models)) as address:
        yield address


@pytest.mark.parametrize("pyodide", PYODIDES)
def test_micropip_installs_it_in_chromium(
    pyodide: str, wheel: Path, repository_url: str, browser: Browser
) -> None:
    page = browser.new_page()
    page.goto(repository_url + "web/icon.svg")
    output = page.evaluate(
        """async ({ base, pyodide, archives, wheel, model, code }) => {
            const { loadPyodide } = await import(`${base}node_modules/${pyodide}/pyodide.mjs`);
            const python = await loadPyodide();
            const fetchBytes = async (path) => (await fetch(base + path)).arrayBuffer();
            for (const path of archives) python.unpackArchive(await fetchBytes(path), "wheel");
            await python.pyimport("micropip").install(base + wheel);
            python.FS.writeFile("/tmp/tiny.gguf", new Uint8Array(await fetchBytes(model)));
            return python.runPythonAsync(code);
        }""",
        {
            "base": repository_url,
            "pyodide": PYODIDES[pyodide],
            "archives": [
                (get_test_wheels() / name).relative_to(ROOT).as_posix()
                for name in (MICROPIP[pyodide], PACKAGING)
            ],
            "wheel": wheel.relative_to(ROOT).as_posix(),
            "model": f"models/{TINY}",
            "code": GENERATE.format(executor="kernels"),
        },
    )
    page.close()
    assert re.fullmatch(r"kernels-(relaxed|relaxed-pairs|simd128): .+", output, re.DOTALL)
