"""Writes what a benchmark found: the summary that is kept in git, and every run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the files."""
    parser.add_argument("--json", type=Path, help="write the summary to this file")
    parser.add_argument("--raw", type=Path, help="write the summary and every run to this file")


def write(results: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Write the files that the command line asks for."""
    if options.raw:
        _write(options.raw, results)
    if options.json:
        _write(options.json, _without_runs(results))


def _without_runs(value: Any) -> Any:
    """Drop every list of runs, however deep; "runs" is a count in some places."""
    if isinstance(value, Mapping):
        return {
            key: _without_runs(part)
            for key, part in value.items()
            if key != "runs" or not isinstance(part, list)
        }
    if isinstance(value, list):
        return [_without_runs(part) for part in value]
    return value


def _write(path: Path, results: Any) -> None:
    path.write_text(json.dumps(results, indent=1, default=str) + "\n")
