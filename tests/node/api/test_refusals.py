"""What an owner reads in the log about requests that were refused."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from node.api.problems import ApiError
from node.api.refusals import EVERY_S, MOST, Refusals
from protocols.http import control, requests
from protocols.http.requests import ApiProblem
from tests.node.api.house import Api


def no(status: int = 403) -> ApiError:
    return ApiError(status, "refused", "because")


def clock_of(now: list[float]) -> Callable[[], float]:
    return lambda: now[0]


async def test_a_refused_request_is_in_the_log_with_who_and_why(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    made = await api.call(requests.new_grant(control.NewKey(name="bot", may=("models.read",))))
    with caplog.at_level(logging.WARNING, "node.api.refusals"):
        with pytest.raises(ApiProblem):
            await api.call(requests.status(), token=made.secret)
        with pytest.raises(ApiProblem):
            await api.call(requests.status(), token="wrong")
    first, second = caplog.messages
    assert first.startswith(f"GET '/node/v1/status' by {made.key.id}: 403 this API key may")
    assert second.startswith("GET '/node/v1/status': 401 ")


def test_a_flood_of_refusals_is_counted_not_listed(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = Refusals(clock=clock_of(now))
    for _ in range(MOST + 5):
        refusals.note("GET", "/", no())
    now[0] = EVERY_S
    refusals.note("GET", "/", no())
    assert len(caplog.messages) == MOST + 2
    assert caplog.messages[MOST].startswith("5 more requests")


def test_a_misspelt_field_and_hostile_paths_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    refusals.note("GET", "/", no(400))
    assert not caplog.messages
    refusals.note("GET", "/\n2026-01-01 INFO\x1b[2J" + "x" * 10_000, no())
    assert "\n" not in caplog.text.strip()
    assert "\x1b" not in caplog.text
    assert len(caplog.messages[0]) < 400
