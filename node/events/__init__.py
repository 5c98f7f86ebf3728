"""The events room: an append-only log of what the node did. Audit, `why` and metrics are views of it."""

from node.events.log import MIGRATIONS, Entry, EventLog

__all__ = ["MIGRATIONS", "Entry", "EventLog"]
