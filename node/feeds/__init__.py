"""The feeds room: signed feeds on disk, each record verified before it is kept."""

from node.feeds.feeds import FeedProblem, Feeds
from node.feeds.tables import MIGRATIONS

__all__ = ["MIGRATIONS", "FeedProblem", "Feeds"]
