"""GET /metrics: the node's numbers as Prometheus reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from node.api.call import Call, Reply
from node.api.parts import Statistics

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HttpCounts:
    """Answers by status, counted by the guard."""

    def __init__(self) -> None:
        self.by_status: Counter[int] = Counter()

    def add(self, status: int) -> None:
        self.by_status[status] += 1


async def metrics(call: Call) -> Reply:
    parts, state = call.parts, call.app_state
    lines = [
        *_one("kith_info", "gauge", "The program.", 1, f'version="{_escape(parts.version)}"'),
        *_one(
            "kith_uptime_seconds",
            "gauge",
            "Since the API was built.",
            round(parts.clock() - state.started_at, 3),
        ),
        *_one("kith_models_loaded", "gauge", "Models ready.", len(parts.serving.loaded())),
        *_of_serving(parts.serving.statistics()),
        *_many(
            "kith_http_answers_total",
            "counter",
            "HTTP answers.",
            (
                (f'status="{status}"', count)
                for status, count in sorted(state.counts.by_status.items())
            ),
        ),
    ]
    return Reply(("\n".join(lines) + "\n").encode(), media_type=MEDIA_TYPE)


def _of_serving(numbers: Statistics) -> Iterator[str]:
    gauges = {
        "kith_jobs_running": ("Jobs that a model works on.", numbers.running),
        "kith_jobs_waiting": ("Jobs that wait for a model.", numbers.waiting),
        "kith_models_memory_bytes": ("Memory of loaded models.", numbers.memory_used),
        "kith_models_memory_budget_bytes": ("Memory that models may take.", numbers.memory_budget),
    }
    counters = {
        "kith_job_retries_total": ("Jobs that were begun again.", numbers.retries),
        "kith_model_loads_total": ("Models loaded.", numbers.loads),
        "kith_worker_deaths_total": ("Workers that died.", numbers.worker_deaths),
        "kith_worker_hangs_total": ("Workers that hung.", numbers.worker_hangs),
    }
    for name, (help, value) in gauges.items():
        yield from _one(name, "gauge", help, value)
    for name, (help, value) in counters.items():
        yield from _one(name, "counter", help, value)
    tokens = (
        ('kind="prompt"', numbers.prompt_tokens),
        ('kind="completion"', numbers.completion_tokens),
        ('kind="cached"', numbers.cached_tokens),
    )
    yield from _many("kith_tokens_total", "counter", "Tokens.", tokens)
    outcomes = ((f'outcome="{_escape(how)}"', n) for how, n in sorted(numbers.outcomes.items()))
    yield from _many("kith_jobs_total", "counter", "Jobs by how they ended.", outcomes)


def _one(name: str, kind: str, help: str, value: float, labels: str = "") -> Iterator[str]:
    return _many(name, kind, help, [(labels, value)])


def _many(name: str, kind: str, help: str, values: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values:
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
