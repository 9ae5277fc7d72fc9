"""What an engine has done so far: its requests, tokens, times and memory."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from types import TracebackType

Phase = Literal["prefill", "decode"]


@dataclass(slots=True)
class MetricsSnapshot:
    """Totals since the engine was made. Times are in seconds.

    A request is an answer that was started. It ends as completed, as cancelled (also where the
    caller left the loop early), or as failed (an error was raised).

    Attributes:
        prompt_tokens: tokens of prompts that were computed.
        cached_tokens: tokens of prompts that the cache already held.
        generated_tokens: tokens of answers.
        drafted_tokens: tokens that speculation drafted.
        accepted_tokens: drafted tokens that were right.
        prefill_seconds, decode_seconds: time spent on prompts and on answers, without the time that
            the caller takes between two tokens.
        first_token_seconds: the sum, over requests, of the times from the start of a request to its
            first token; `first_tokens` counts them.
        memory_bytes: in use now for weights, work buffers and caches; 0 without a model.
        peak_memory_bytes: the most that was in use at the end of a prompt or an answer.
    """

    requests_started: int = 0
    requests_completed: int = 0
    requests_cancelled: int = 0
    requests_failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    first_token_seconds: float = 0.0
    first_tokens: int = 0
    memory_bytes: int = 0
    peak_memory_bytes: int = 0

    @property
    def mean_first_token_seconds(self) -> float:
        """Mean time to the first token; 0 before the first one."""
        return self.first_token_seconds / self.first_tokens if self.first_tokens else 0.0

    @property
    def prefill_tokens_per_second(self) -> float:
        """Mean prefill speed; 0 before the first prompt."""
        return self.prompt_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """Mean decode speed; 0 before the first answer."""
        return self.generated_tokens / self.decode_seconds if self.decode_seconds else 0.0

    def to_prometheus(self, prefix: str = "oxillama_") -> str:
        """Return the totals as https://prometheus.io/docs/instrumenting/exposition_formats/."""
        return "".join(
            f"# HELP {prefix}{name} {text}\n# TYPE {prefix}{name} {kind}\n"
            + "".join(
                f"{prefix}{name}{labels} {getattr(self, field)}\n" for labels, field in samples
            )
            for name, kind, text, samples in _PROMETHEUS
        )


class Metrics:
    """Counts what an engine does."""

    def __init__(self) -> None:
        self._totals = MetricsSnapshot()

    def snapshot(self) -> MetricsSnapshot:
        """Return a copy of the totals."""
        from dataclasses import replace

        return replace(self._totals)

    def reset(self) -> None:
        """Reset the totals, except for the memory in use."""
        memory = self._totals.memory_bytes
        self._totals = MetricsSnapshot(memory_bytes=memory, peak_memory_bytes=memory)

    def request(self, n_cached: int) -> Request:
        """Return a request that starts with its `with` block.

        Args:
            n_cached: tokens of its prompt that the cache holds.
        """
        return Request(self._totals, n_cached)

    def memory(self, n_bytes: int) -> None:
        """Record how many bytes are in use now."""
        self._totals.memory_bytes = n_bytes
        self._totals.peak_memory_bytes = max(self._totals.peak_memory_bytes, n_bytes)

    def speculation(self, n_drafted: int, n_accepted: int) -> None:
        """Record how many tokens were drafted, and how many drafted ones turned out right."""
        self._totals.drafted_tokens += n_drafted
        self._totals.accepted_tokens += n_accepted


class Request:
    """One request's share of the totals.

    Attributes:
        cancelled: set it if the request ends because it was asked to.
    """

    def __init__(self, totals: MetricsSnapshot, n_cached: int) -> None:
        self.cancelled = False
        self._totals = totals
        self._n_cached = n_cached
        self._has_tokens = False
        self._started = self._resumed = 0.0

    def __enter__(self) -> Request:
        self._started = self._resumed = perf_counter()
        self._totals.requests_started += 1
        self._totals.cached_tokens += self._n_cached
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.cancelled or (kind is not None and issubclass(kind, GeneratorExit)):
            self._totals.requests_cancelled += 1
        elif kind is not None:
            self._totals.requests_failed += 1
        else:
            self._totals.requests_completed += 1

    def resume(self) -> None:
        """Record that the engine works again, after the caller."""
        self._resumed = perf_counter()

    def spent(self, phase: Phase, n_tokens: int) -> None:
        """Record the time since `resume`, in which so many tokens were computed or generated."""
        now = perf_counter()
        totals = self._totals
        if phase == "prefill":
            totals.prefill_seconds += now - self._resumed
            totals.prompt_tokens += n_tokens
            return
        totals.decode_seconds += now - self._resumed
        totals.generated_tokens += n_tokens
        if n_tokens and not self._has_tokens:
            self._has_tokens = True
            totals.first_tokens += 1
            totals.first_token_seconds += now - self._started


# a name, a kind, a help text, and samples: labels, and a field of MetricsSnapshot
_Metric = tuple[str, str, str, tuple[tuple[str, str], ...]]


def _counter(field: str, text: str) -> _Metric:
    return f"{field}_total", "counter", text, (("", field),)


def _gauge(field: str, text: str) -> _Metric:
    return field, "gauge", text, (("", field),)


_OUTCOMES = tuple(
    (f'{{outcome="{outcome}"}}', f"requests_{outcome}")
    for outcome in ("completed", "cancelled", "failed")
)
_FIRST_TOKEN = (("_sum", "first_token_seconds"), ("_count", "first_tokens"))
_PROMETHEUS: tuple[_Metric, ...] = (
    _counter("requests_started", "Requests started."),
    ("requests_total", "counter", "Requests ended, by outcome.", _OUTCOMES),
    _counter("prompt_tokens", "Prompt tokens computed."),
    _counter("cached_tokens", "Prompt tokens found in the cache."),
    _counter("generated_tokens", "Tokens generated."),
    _counter("drafted_tokens", "Tokens drafted."),
    _counter("accepted_tokens", "Drafted tokens accepted."),
    _counter("prefill_seconds", "Time spent on prompts."),
    _counter("decode_seconds", "Time spent on answers."),
    ("first_token_seconds", "summary", "Time to the first token.", _FIRST_TOKEN),
    _gauge("memory_bytes", "Memory in use."),
    _gauge("peak_memory_bytes", "Peak memory in use."),
)
