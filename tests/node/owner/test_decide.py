"""The decision point, as a table: who asks for what, and which rule answers."""

import pytest

from node.owner import ACTIONS, RULES, Ask, Caller, anonymous, decide
from node.owner.callers import OWNER_ONLY, owner


def grant(*may: str, ceiling: str = "fleet") -> Caller:
    return Caller("0123", "grant", "device", ceiling, frozenset(may))


OWNER = owner()
NOBODY = anonymous()
OPEN = anonymous(token_required=False)
ALL = grant("*", ceiling="public")

TABLE = [
    # caller, action, label, allowed, rule
    (OWNER, "chat", "device", True, "owner-all"),
    (OWNER, "chat", "public", True, "owner-all"),
    (OWNER, "identity", None, True, "owner-all"),
    (OWNER, "grants", None, True, "owner-all"),
    (OWNER, "node.stop", None, True, "owner-all"),
    (OWNER, "fly", None, False, "deny-default"),
    (OWNER, "", None, False, "deny-default"),
    (OWNER, "chat", "secret", False, "deny-label"),
    (NOBODY, "chat", "device", False, "deny-anonymous"),
    (NOBODY, "status", None, False, "deny-anonymous"),
    (NOBODY, "identity", None, False, "deny-anonymous"),
    (OPEN, "chat", "device", True, "anonymous-open"),
    (OPEN, "models.read", None, True, "anonymous-open"),
    (OPEN, "chat", "fleet", False, "grant-ceiling"),
    (OPEN, "models.write", None, False, "deny-anonymous"),
    (OPEN, "conversations", None, False, "deny-anonymous"),
    (OPEN, "node.stop", None, False, "deny-anonymous"),
    (grant("chat"), "chat", "device", True, "grant-lists-action"),
    (grant("chat"), "chat", "fleet", True, "grant-lists-action"),
    (grant("chat"), "chat", None, True, "grant-lists-action"),
    (grant("chat"), "chat", "mesh:friends", False, "grant-ceiling"),
    (grant("chat"), "chat", "public", False, "grant-ceiling"),
    (grant("chat"), "embed", "device", False, "deny-default"),
    (grant(), "chat", "device", False, "deny-default"),
    (grant("chat", ceiling="mesh:friends"), "chat", "mesh:friends", True, "grant-lists-action"),
    (grant("chat", ceiling="mesh:friends"), "chat", "mesh:work", False, "grant-ceiling"),
    (grant("chat", ceiling="broken"), "chat", "device", False, "grant-ceiling"),
    (grant("chat"), "chat", "mesh:", False, "deny-label"),
    (ALL, "events", None, True, "grant-lists-action"),
    (ALL, "node.stop", None, True, "grant-lists-action"),
    (ALL, "identity", None, False, "identity-owner-only"),
    (ALL, "grants", None, False, "grants-owner-only"),
    (ALL, "settings", None, False, "settings-owner-only"),
    (grant("identity"), "identity", None, False, "identity-owner-only"),
    (ALL, "chat", "public", True, "grant-lists-action"),
    (ALL, "fly", None, False, "deny-default"),
]


@pytest.mark.parametrize(("caller", "action", "label", "allowed", "rule"), TABLE)
def test_the_table_of_decisions(
    caller: Caller, action: str, label: str | None, allowed: bool, rule: str
) -> None:
    decision = decide(Ask(caller, action, label))
    assert (decision.allowed, decision.rule) == (allowed, rule)
    assert decision.rule in RULES
    assert decision.reason


def test_every_rule_is_met_by_the_table() -> None:
    assert {rule for *_, rule in TABLE} == set(RULES)


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_caller_without_rights_may_do_nothing(action: str) -> None:
    assert not decide(Ask(grant(), action)).allowed
    assert not decide(Ask(NOBODY, action)).allowed
    assert not decide(Ask(grant(), action, "device")).allowed


@pytest.mark.parametrize("action", sorted(OWNER_ONLY))
def test_the_owners_own_things_are_out_of_reach_of_every_key(action: str) -> None:
    assert not decide(Ask(grant("*", action, ceiling="public"), action)).allowed


def test_a_refused_label_names_the_command_that_would_widen_it() -> None:
    reason = decide(Ask(grant("chat"), "chat", "public", subject="the conversation c1")).reason
    assert "the conversation c1 is labelled public" in reason
    assert "ceiling fleet" in reason
    assert "node grants new NAME --ceiling public" in reason


def test_a_refused_action_says_what_the_key_may_do() -> None:
    reason = decide(Ask(grant("chat", "embed"), "models.write")).reason
    assert "may chat, embed, but not models.write" in reason
