"""What the event log says to people."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.event_words import in_words

KINDS = ["job.admitted", "job.routed", "job.retried", "job.ended", "job.failed", "model.added", ""]


def test_a_job_that_ended_is_a_sentence() -> None:
    told = in_words(
        "job.ended",
        {
            "finish": "stop",
            "completion_tokens": 17,
            "generate_s": 0.5,
            "prompt_tokens": 9,
            "cached_tokens": 8,
            "prompt_s": 0.25,
            "queued_s": 0.0,
            "retries": 1,
        },
    )
    assert told.startswith("stop: 17 tokens in 0.500 s; prompt 9 tokens, 8 of them known already")
    assert told.endswith("retried once")


def test_where_a_job_could_have_gone_is_told_with_scores_and_reasons() -> None:
    candidate: dict[str, Any] = {"loaded": False, "running": 1, "waiting": 2, "score": 1.5}
    told = in_words(
        "job.routed",
        {"choice": None, "candidates": [{"target": "local", "excluded": "full", **candidate}]},
    )
    assert told == (
        "to nobody; candidates: local (model to be loaded, 1 running, 2 waiting, score 1.5,"
        " left out: full)"
    )


def test_what_no_sentence_knows_is_listed() -> None:
    assert in_words("grant.made", {"may": ["chat"], "why": "", "n": 2}) == 'may=["chat"]  n=2'


@pytest.mark.parametrize("kind", KINDS)
@given(
    facts=st.dictionaries(
        st.sampled_from(["choice", "candidates", "finish", "retries", "x"]),
        st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=2),
    )
)
def test_damaged_events_are_shown_too(kind: str, facts: dict[str, Any]) -> None:
    assert isinstance(in_words(kind, facts), str)
