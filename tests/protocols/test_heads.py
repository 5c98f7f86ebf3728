from __future__ import annotations

from typing import Any

import pytest

from protocols import limits, strict
from protocols.envelope import sign
from protocols.errors import Malformed
from protocols.heads import DOMAIN, Head, is_stale, open_head, sign_head
from tests.protocols.feeds import NET, NOW, Owner
from tests.protocols.keys import key, pub
from tests.protocols.test_chain import refused

OWNER = Owner("ann")
HEAD = Head(net=NET, feed=OWNER.state.feed, seq=7, hash=b"h" * 32, at=NOW, ttl=1000)


def opened(data: bytes, **changes: Any) -> Head:
    wanted = {"key": pub("ann0"), "feed": OWNER.state.feed, "net": NET, "now_ms": NOW}
    return open_head(data, **{**wanted, **changes})


def test_a_head_opens_as_it_was_signed() -> None:
    assert opened(sign_head(key("ann0"), HEAD)) == HEAD


def test_a_head_is_stale_after_its_time() -> None:
    assert not is_stale(HEAD, NOW + 1000)
    assert is_stale(HEAD, NOW + 1001)
    assert opened(sign_head(key("ann0"), HEAD), now_ms=NOW + 10**9) == HEAD


def test_a_head_by_anyone_else_is_refused() -> None:
    with refused("stranger"):
        opened(sign_head(key("thief"), HEAD))


def test_a_head_of_another_feed_network_or_time_is_refused() -> None:
    data = sign_head(key("ann0"), HEAD)
    with refused("feed"):
        opened(data, feed=b"x" * 32)
    with refused("net"):
        opened(data, net="other")
    with refused("future"):
        opened(data, now_ms=NOW - limits.RECORD_AHEAD_MS - 1)


def test_a_changed_head_is_refused() -> None:
    data = sign_head(key("ann0"), HEAD)
    with refused("signature"):
        opened(data.replace(b"h" * 32, b"i" * 32))


def test_a_record_is_no_head() -> None:
    with refused("signature"):
        opened(OWNER.log[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"ttl": 0},
        {"ttl": limits.HEAD_TTL_MS + 1},
        {"seq": -1},
        {"hash": b"h"},
        {"v": 2},
        {"more": 1},
    ],
)
def test_a_wrong_field_is_malformed(changes: dict[str, Any]) -> None:
    fields = {**strict.from_struct(HEAD), **changes}
    with pytest.raises(Malformed):
        opened(sign(key("ann0"), DOMAIN, strict.encode(fields)))


def test_a_head_that_nobody_would_take_is_not_signed() -> None:
    wrong = Head(net=NET, feed=b"", seq=7, hash=b"h" * 32, at=NOW, ttl=1000)
    with pytest.raises(Malformed):
        sign_head(key("ann0"), wrong)
