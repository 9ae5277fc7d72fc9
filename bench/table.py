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
    """Divide our figures by each peer's with the same model and threads.

    Peers in the same place, and for the browser the native ones too. The memory is what a process
    takes beside the model file.
    """
    rows = [row for row in summary if "error" not in row]
    return [
        {
            **{name: ours[name] for name in ("where", "model", "threads")},
            "peer": peer["engine"]
            if ours["where"] == peer["where"]
            else f"native {peer['engine']}",
            **{name: ours[name] / peer[name] for name in (*_SPEEDS, "memory_above_file")},
            "quiet": ours["quiet"] and peer["quiet"],
        }
        for ours in rows
        if ours["engine"] == OURS
        for peer in rows
        if peer["engine"] != OURS
        and (peer["model"], peer["threads"]) == (ours["model"], ours["threads"])
        and peer["where"] in (ours["where"], "native")
    ]


def render(results: Mapping[str, Any]) -> str:
    """Lay out a result file as Markdown: the machine, the medians, the ratios."""
    summary = results["summary"]
    parts = [_headline(results), _medians_table(results)]
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
    row["memory_above_file"] = row["peak_memory_bytes"] - group[0]["file_bytes"]
    row |= {f"{name}_range": [f(run[name] for run in used) for f in (min, max)] for name in _SPEEDS}
    return row | {"runs": len(used), "quiet": bool(quiet), "version": used[-1]["version"]}


def _headline(results: Mapping[str, Any]) -> str:
    machine, settings = results["machine"], results["settings"]
    commit = (results["commit"] or "no commit")[:10] + (" modified" if results["modified"] else "")
    return (
        f"{results['date']}, {commit}; {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB. Medians of up to {settings['runs']} runs; "
        f"{settings['prompt_tokens']} prompt tokens, {settings['decode_tokens']} decoded greedily."
    )


def _medians_table(results: Mapping[str, Any]) -> str:
    decode_limits, prefill_limits = results["decode_limits"], results["prefill_limits"]
    decode = {(r["model"], r["threads"]): r["tokens_per_second"] for r in decode_limits}
    prefill = {
        (r["where"], r["model"], r["threads"]): r["tokens_per_second"] for r in prefill_limits
    }
    rows = []
    for row in results["summary"]:
        if "error" in row:
            continue
        mark = "" if row["quiet"] else "~"
        setting = row["model"], row["threads"]
        speeds = [row[name] for name in _SPEEDS]
        limits = [prefill[row["where"], *setting], decode[setting]]
        rows.append(
            [
                *[row["where"], *setting, row["engine"], f"{row['ready_seconds']:.2f}"],
                *[
                    cell
                    for speed, limit in zip(speeds, limits, strict=True)
                    for cell in (f"{mark}{speed:.1f}", f"{100 * speed / limit:.0f} %")
                ],
                *[f"{row['peak_memory_bytes'] / 1e6:.0f}", f"{row['memory_above_file'] / 1e6:.0f}"],
                row["runs"],
            ]
        )
    header = ["where", "model", "threads", "engine", "ready s", "prefill tok/s", "of limit"]
    header += ["decode tok/s", "of limit", "peak MB", "above the file", "runs"]
    return _markdown(header, rows)


def _ratios_table(rows: Sequence[Row]) -> str:
    return _markdown(
        ["where", "model", "threads", "ours against", "prefill", "decode", "memory above the file"],
        [
            [
                row["where"],
                row["model"],
                row["threads"],
                row["peer"],
                *(f"{'' if row['quiet'] else '~'}{row[name]:.2f}" for name in _SPEEDS),
                f"{row['memory_above_file']:.2f}",
            ]
            for row in rows
        ],
    )


def _markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _label(row: Row) -> str:
    return f"{row['engine']} ({row['where']}, {row['model']}, {row['threads']} threads)"
