"""Makes json_schema_suite.json.gz from the JSON-Schema-Test-Suite that jsonschema's source holds.

pip download --no-deps --no-binary :all: jsonschema==4.26.0
tar xf jsonschema-4.26.0.tar.gz
python tests/golden/make_json_schema_suite.py jsonschema-4.26.0/json
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from jsonschema_specifications import REGISTRY

DRAFTS = ("draft4", "draft6", "draft7", "draft2019-09", "draft2020-12")
# where the suite expects its own documents
ADDRESS = "http://localhost:1234/"


def main(folder: Path) -> None:
    suite: dict[str, object] = {"license": (folder / "LICENSE").read_text()}
    for draft in DRAFTS:
        suite[draft] = {
            path.stem: [
                {
                    "schema": case["schema"],
                    "tests": [[t["data"], t["valid"]] for t in case["tests"]],
                }
                for case in json.loads(path.read_text())
            ]
            for path in sorted((folder / "tests" / draft).glob("*.json"))
        }
    remotes = folder / "remotes"
    suite["documents"] = {
        ADDRESS + path.relative_to(remotes).as_posix(): json.loads(path.read_text())
        for path in sorted(remotes.rglob("*.json"))
        if not path.is_relative_to(remotes / "draft3") | path.is_relative_to(remotes / "draft-next")
    } | {
        # those of the drafts themselves
        address.rstrip("#"): REGISTRY.contents(address)
        for address in sorted(REGISTRY)
        if "draft-03" not in address
    }
    data = json.dumps(suite, separators=(",", ":")).encode()
    target = Path(__file__).parent / "json_schema_suite.json.gz"
    target.write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
