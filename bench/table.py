"""Medians of the runs, ratios against the peers, and their Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

OURS = "oxillama_web"
FIGURES = (
    "ready_seconds",
    "prefill_tokens_per_second",
    "decode_tokens_per_second",
    "peak_memory_bytes",
)
_SPEEDS = FIGURES[1:3]

Row = dict[str, Any]


def summarize(runs: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Take the medians of each engine's runs, one row for (where, model, threads, engine).

    Disturbed runs count only where an engine has no quiet one; `quiet` says which it was. An engine
    that failed has an `error` and no figures.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        key = (run["where"], run["model"], run["threads"], run["engine"])
        groups.setdefault(key, []).append(run)
    return [_summary(key, group) for key, group in groups.items()]


def ratios(summary: Sequence[Row]) -> list[Row]:
    """Divide our speeds by each peer's in the same place, with the same model and threads."""
    by_setting = {(*_setting(row), row["engine"]): row for row in summary if "error" not in row}
    return [
        {
            **{name: row[name] for name in ("where", "model", "threads")},
            "peer": row["engine"],
            **{name: ours[name] / row[name] for name in _SPEEDS},
            "quiet": ours["quiet"] and row["quiet"],
        }
        for row in by_setting.values()
        if row["engine"] != OURS and (ours := by_setting.get((*_setting(row), OURS)))
    ]


def render(results: Mapping[str, Any]) -> str:
    """Lay out a result file as Markdown: the machine, the medians, the ratios."""
    summary = results["summary"]
    parts = [_headline(results), _medians_table(summary, results["decode_limits"])]
    if results["ratios"]:
        parts.append(_ratios_table(results["ratios"]))
    if not all(row["quiet"] for row in summary if "error" not in row):
        parts.append("~ something else was running: not to be quoted.")
    parts += [f"{_label(row)} failed: {row['error']}" for row in summary if "error" in row]
    return "\n\n".join(parts) + "\n"


def _summary(key: tuple[Any, ...], group: Sequence[Mapping[str, Any]]) -> Row:
    row: Row = dict(zip(("where", "model", "threads", "engine"), key, strict=True))
    figures = [run for run in group if "error" not in run]
    if not figures:
        return row | {"error": group[-1]["error"]}
    quiet = [run for run in figures if run["quiet"]]
    used = quiet or figures
    row |= {name: median(run[name] for run in used) for name in FIGURES}
    row |= {f"{name}_range": [f(run[name] for run in used) for f in (min, max)] for name in _SPEEDS}
    return row | {"runs": len(used), "quiet": bool(quiet), "version": used[-1]["version"]}


def _setting(row: Row) -> tuple[Any, ...]:
    return row["where"], row["model"], row["threads"]


def _headline(results: Mapping[str, Any]) -> str:
    machine, settings = results["machine"], results["settings"]
    commit = (results["commit"] or "no commit")[:10] + (" modified" if results["modified"] else "")
    return (
        f"{results['date']}, {commit}; {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB. Medians of up to {settings['runs']} runs; "
        f"{settings['prompt_tokens']} prompt tokens, {settings['decode_tokens']} decoded greedily."
    )


def _medians_table(summary: Sequence[Row], limits: Sequence[Mapping[str, Any]]) -> str:
    limit = {(row["model"], row["threads"]): row["tokens_per_second"] for row in limits}
    rows = [
        [
            row["where"],
            row["model"],
            row["threads"],
            row["engine"],
            f"{row['ready_seconds']:.2f}",
            f"{mark}{row['prefill_tokens_per_second']:.1f}",
            f"{mark}{row['decode_tokens_per_second']:.1f}",
            f"{100 * row['decode_tokens_per_second'] / limit[row['model'], row['threads']]:.0f} %",
            f"{row['peak_memory_bytes'] / 1e6:.0f}",
            row["runs"],
        ]
        for row in summary
        if "error" not in row
        for mark in ["" if row["quiet"] else "~"]
    ]
    header = ["where", "model", "threads", "engine", "ready s", "prefill tok/s", "decode tok/s"]
    return _markdown([*header, "of limit", "peak MB", "runs"], rows)


def _ratios_table(rows: Sequence[Row]) -> str:
    return _markdown(
        ["where", "model", "threads", "ours against", "prefill", "decode"],
        [
            [
                row["where"],
                row["model"],
                row["threads"],
                row["peer"],
                *(f"{'' if row['quiet'] else '~'}{row[name]:.2f}" for name in _SPEEDS),
            ]
            for row in rows
        ],
    )


def _markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _label(row: Row) -> str:
    return f"{row['engine']} ({row['where']}, {row['model']}, {row['threads']} threads)"
