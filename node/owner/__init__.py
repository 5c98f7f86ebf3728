"""The owner room: keys, devices, API keys, and the one decision point."""

from node.owner.callers import ACTIONS, OWNER_ONLY, Caller, anonymous
from node.owner.decide import RULES, Ask, Decision, decide
from node.owner.errors import OwnerError
from node.owner.grants import MIGRATION as _GRANTS
from node.owner.grants import Grants, open_grants
from node.owner.identity import Identity, open_identity
from node.owner.known import MIGRATION as _IDENTITY
from node.owner.seam import FeedWriter

MIGRATIONS = (_IDENTITY, _GRANTS)

__all__ = [
    "ACTIONS",
    "MIGRATIONS",
    "OWNER_ONLY",
    "RULES",
    "Ask",
    "Caller",
    "Decision",
    "FeedWriter",
    "Grants",
    "Identity",
    "OwnerError",
    "anonymous",
    "decide",
    "open_grants",
    "open_identity",
]
