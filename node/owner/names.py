"""Names of devices."""

from __future__ import annotations

import socket
import unicodedata

from protocols.limits import NAME_CHARS


def clean_name(wanted: str | None) -> str:
    """A device's name that fits a record: the machine's own when none is wanted."""
    printable = "".join(c for c in (wanted or socket.gethostname()) if c.isprintable()).strip()
    return unicodedata.normalize("NFC", printable[:NAME_CHARS])[:NAME_CHARS] or "device"
