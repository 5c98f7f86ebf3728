"""The store room: SQLite files, their migrations, and the one way to reach them from trio."""

from node.store.database import Database, StoreError, StoreFull, open_database
from node.store.migrations import Migration, migrate
from node.store.store import Store, open_store

__all__ = [
    "Database",
    "Migration",
    "Store",
    "StoreError",
    "StoreFull",
    "migrate",
    "open_database",
    "open_store",
]
