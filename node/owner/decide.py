"""The one decision point: may this caller do that, with data of this label?

Pure, so that a decision can be explained and replayed. Whatever no rule allows is denied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from node.owner.callers import ACTIONS, OWNER_ONLY, Caller
from protocols.errors import Malformed
from protocols.labels import Label, allows

#: Every rule's id and what it says, as `node why` and the docs show it.
RULES: Final = {
    "owner-all": "the owner may do everything on their own node",
    "grant-lists-action": "an API key may do what it lists, up to its label ceiling",
    "anonymous-open": "the owner switched the token off: anyone who reaches the API may use the models",
    "grant-ceiling": "an API key may not touch data that may go further than its label ceiling",
    "identity-owner-only": "only the owner's own token reaches the keys and devices of the owner",
    "grants-owner-only": "only the owner's own token makes, lists or revokes API keys",
    "settings-owner-only": "only the owner's own token changes settings",
    "deny-anonymous": "a caller without a key may do nothing",
    "deny-label": "a label that cannot be read allows nothing",
    "deny-default": "what no rule allows is denied",
}


@dataclass(frozen=True)
class Ask:
    caller: Caller
    action: str
    label: str | None = None  # of the data it is about; None where there is none
    subject: str = ""  # what it is about, for the reason: a model, a conversation


@dataclass(frozen=True)
class Decision:
    allowed: bool
    rule: str  # a key of RULES
    reason: str  # a sentence; when denied it says what would change that


def decide(ask: Ask) -> Decision:
    """The decision, with the rule that made it. Never raises."""
    return _of_the_question(ask) or _of_the_caller(ask) or _of_the_label(ask) or _allowed(ask)


def _of_the_question(ask: Ask) -> Decision | None:
    """Refusals that do not depend on who asks."""
    if ask.action not in ACTIONS:
        return _no("deny-default", f"{ask.action!r} is nothing that this node knows how to allow")
    if ask.label is not None and _parse(ask.label) is None:
        return _no("deny-label", f"{ask.label!r} is no label: device, fleet, mesh:<id> or public")
    return None


def _of_the_caller(ask: Ask) -> Decision | None:
    """The owner's yes, and refusals of an action."""
    caller, action = ask.caller, ask.action
    if caller.kind == "owner":
        return Decision(True, "owner-all", RULES["owner-all"])
    if caller.kind == "anonymous" and action not in caller.may:
        return _no(
            "deny-anonymous",
            "no API key was given: send 'Authorization: Bearer KEY';"
            " `node status` shows where your token is, `node grants new NAME` makes a key",
        )
    if action in OWNER_ONLY:
        return _no(
            f"{action}-owner-only",
            f"an API key cannot reach {action}: use the owner's own token (`node status` shows where it is)",
        )
    if action not in caller.may and "*" not in caller.may:
        listed = ", ".join(sorted(caller.may)) or "nothing"
        return _no(
            "deny-default",
            f"this API key may {listed}, but not {action}:"
            f" the owner can make one that may: `node grants new NAME --may {action}`",
        )
    return None


def _of_the_label(ask: Ask) -> Decision | None:
    if ask.label is None:
        return None
    label, ceiling = _parse(ask.label), _parse(ask.caller.ceiling)
    if label is not None and ceiling is not None and allows(label, ceiling):
        return None
    what = f"{ask.subject} is" if ask.subject else "this is"
    widen = (
        f"the owner can make one that may: `node grants new NAME --ceiling {ask.label}`"
        if ask.caller.kind == "grant"
        else f"the owner can set api.default_label to {ask.label}, or make an API key"
    )
    return _no(
        "grant-ceiling",
        f"{what} labelled {ask.label}, above this caller's ceiling {ask.caller.ceiling}: {widen}",
    )


def _allowed(ask: Ask) -> Decision:
    rule = "grant-lists-action" if ask.caller.kind == "grant" else "anonymous-open"
    return Decision(True, rule, RULES[rule])


def _no(rule: str, reason: str) -> Decision:
    return Decision(False, rule, reason)


def _parse(text: str) -> Label | None:
    try:
        return Label.parse(text)
    except Malformed:
        return None
