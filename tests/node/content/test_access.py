"""Which redirects are followed, and how long a server may let us wait."""

from __future__ import annotations

import httpx
import pytest

from node.content.access import Access
from node.content.download import Patience
from node.content.errors import PullFailed
from node.content.meter import Rate, seconds_left
from node.content.refs import parse_ref

HUB = "https://hub.example"


@pytest.fixture
def access() -> Access:
    """It opens no connection here, and needs no closing."""
    return Access(parse_ref("hf:a/b/t.gguf", HUB), HUB, "hf_token", offline=False, stall_s=1)


def redirected(access: Access, url: str, target: str) -> str:
    return access._redirected(url, httpx.Response(302, headers={"Location": target}))


def test_a_redirect_may_lead_to_another_encrypted_server(access: Access) -> None:
    assert (
        redirected(access, f"{HUB}/x", "https://cdn.example/y?k=1") == "https://cdn.example/y?k=1"
    )
    assert redirected(access, f"{HUB}/a/x", "/z") == f"{HUB}/z"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("http://cdn.example/y", "without encryption"),
        ("https://127.0.0.1/y", "this machine itself"),
        ("http://localhost:8750/node/v1/stop", "this machine itself"),
        ("file:///etc/passwd", "nothing can be pulled"),
        ("https://ann:secret@cdn.example/y", "nothing can be pulled"),
    ],
)
def test_a_redirect_to_a_worse_place_is_not_followed(access: Access, target: str, why: str) -> None:
    with pytest.raises(PullFailed, match=why):
        redirected(access, f"{HUB}/x", target)


def test_the_token_is_for_the_hubs_own_origin_only(access: Access) -> None:
    assert access._authorization(f"{HUB}/api/x") == {"Authorization": "Bearer hf_token"}
    for other in (
        "http://hub.example/x",
        "https://hub.example:8443/x",
        "https://hub.example.evil.example/x",
        "https://cdn.example/x",
    ):
        assert access._authorization(other) == {}


def test_waits_grow_up_to_a_bound_and_never_undercut_the_server() -> None:
    patience = Patience(retries=8, first_s=1.0, longest_s=60.0)
    assert all(0.5 <= patience.wait_s(1, None) <= 1.0 for _ in range(20))
    assert all(30.0 <= patience.wait_s(20, None) <= 60.0 for _ in range(20))
    assert patience.wait_s(1, 90.0) == 90.0
    with pytest.raises(PullFailed, match="100 minutes"):
        patience.wait_s(1, 6000.0)


def test_a_rate_is_that_of_the_last_seconds_and_zero_when_nothing_comes() -> None:
    rate = Rate()
    assert rate.measure(0.0, 0) == 0.0
    assert rate.measure(1.0, 1000) == 1000.0
    assert rate.measure(2.0, 3000) == 1500.0
    assert rate.measure(20.0, 3000) == 0.0
    assert rate.measure(21.0, 10) == 0.0  # started over
    assert seconds_left(50, 100, 10.0) == 5.0
    assert seconds_left(50, None, 10.0) is None
    assert seconds_left(50, 100, 0.0) is None
