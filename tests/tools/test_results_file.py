"""What a benchmark writes: a summary for git, and every run where that is asked for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench import results_file

RESULTS = {
    "summary": [{"engine": "ours", "runs": 5}],
    "rows": [{"first token": 1.5, "runs": [{"first token": 1.4}]}],
    "runs": [{"engine": "ours"}],
}


def test_runs_are_only_in_the_raw_file(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    results_file.add_options(parser)
    summary, raw = tmp_path / "summary.json", tmp_path / "raw.json"
    results_file.write(RESULTS, parser.parse_args(["--json", str(summary), "--raw", str(raw)]))
    assert json.loads(raw.read_text()) == RESULTS
    assert json.loads(summary.read_text()) == {
        "summary": [{"engine": "ours", "runs": 5}],
        "rows": [{"first token": 1.5}],
    }
