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

DRAFTS = ("draft4", "draft7", "draft2020-12")


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
    data = json.dumps(suite, separators=(",", ":")).encode()
    target = Path(__file__).parent / "json_schema_suite.json.gz"
    target.write_bytes(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
