"""web/protocol.js: its table of methods is that of Python and of the docs."""

from __future__ import annotations

import inspect
import json
import re
import subprocess

from paths import ROOT

from oxillama_web.browser.worker import WorkerEngine

# Python's names of arguments that are called otherwise there
IN_PYTHON = {"bytes": "data"}


def table(name: str) -> dict[str, list[str]]:
    """Argument names by method."""
    script = f"""
        import {{ {name} }} from "{ROOT}/web/protocol.js";
        console.log(JSON.stringify({name}));
    """
    command = ["node", "--input-type=module", "--eval", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    methods: dict[str, list[str]] = json.loads(done.stdout)
    return methods


def in_python(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def test_python_has_every_method_with_its_arguments() -> None:
    methods = {in_python(name): arguments for name, arguments in table("METHODS").items()}
    methods |= {f"start_{name}": arguments for name, arguments in table("ANSWERS").items()}
    for name, arguments in methods.items():
        parameters = list(inspect.signature(getattr(WorkerEngine, name)).parameters)
        assert parameters == ["self", *(IN_PYTHON.get(each, each) for each in arguments)], name


def test_the_docs_list_every_request_with_its_members() -> None:
    docs = (ROOT / "docs" / "worker-protocol.md").read_text()
    listed = {
        name: set(re.findall(r"`(\w+)`", members))
        for name, members in re.findall(r"^\| `(\w+)` \|(.*?)\|", docs, re.MULTILINE)
    }
    for name, arguments in (table("METHODS") | table("ANSWERS")).items():
        assert set(arguments) <= listed[name], name
