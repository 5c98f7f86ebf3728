"""An event of the log in a person's words: the same in the log file, `node audit` and `node why`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Facts = Mapping[str, Any]


def in_words(kind: str, facts: Facts) -> str:
    """One line; facts that no sentence knows are listed as they are. Never raises."""
    sentence = _SENTENCES.get(kind)
    try:
        return sentence(facts) if sentence else listed(facts)
    except (KeyError, TypeError, ValueError, AttributeError):  # of another version, or damaged
        return listed(facts)


def listed(facts: Facts) -> str:
    return "  ".join(
        f"{name}={_plain(value)}" for name, value in facts.items() if value not in ("", None)
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _admitted(facts: Facts) -> str:
    return (
        f"{facts['work']} asked by {facts['asked_by']}, allowed by the rule {facts['rule']},"
        f" label {facts['label']}, model {facts.get('name') or facts['model']}"
    )


def _routed(facts: Facts) -> str:
    return f"to {facts['choice'] or 'nobody'}; candidates: " + (
        "; ".join(map(_candidate, facts["candidates"])) or "none"
    )


def _candidate(found: Facts) -> str:
    loaded = "model loaded" if found["loaded"] else "model to be loaded"
    out = f", left out: {found['excluded']}" if found.get("excluded") else ""
    return (
        f"{found['target']} ({loaded}, {found['running']} running, {found['waiting']} waiting,"
        f" score {found['score']}{out})"
    )


def _ended(facts: Facts) -> str:
    return (
        f"{facts['finish']}: {facts['completion_tokens']} tokens in {facts['generate_s']:.3f} s;"
        f" prompt {facts['prompt_tokens']} tokens, {facts['cached_tokens']} of them known already,"
        f" in {facts['prompt_s']:.3f} s; queued {facts['queued_s']:.3f} s{_again(facts)}"
    )


def _failed(facts: Facts) -> str:
    return f"{facts['code']} after {facts['completion_tokens']} tokens{_again(facts)}"


def _again(facts: Facts) -> str:
    count = facts["retries"]
    return f"; retried {count} times" if count > 1 else "; retried once" if count else ""


def _retried(facts: Facts) -> str:
    return f"attempt {facts['attempt']} on {facts['choice'] or 'nobody'}, because: {facts['code']}"


_SENTENCES: Final[dict[str, Callable[[Facts], str]]] = {
    "job.admitted": _admitted,
    "job.routed": _routed,
    "job.retried": _retried,
    "job.ended": _ended,
    "job.failed": _failed,
}
