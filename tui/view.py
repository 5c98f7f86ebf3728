"""From the API's answers to words on the screen: plain functions, no widgets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tui.link import Link

SCREENS = (("chat", "1 Chat"), ("models", "2 Models"))


def one_line(text: str, width: int = 200) -> str:
    """Without line ends, no longer than `width` characters; what is cut off shows as `…`."""
    flat = " ".join(text[: 4 * width].split())
    return flat if len(flat) <= width else flat[: max(0, width - 1)] + "…"


def size(count: float) -> str:
    """e.g. 1.2M, 4.7G: short, for columns."""
    for unit in ("B", "K", "M", "G"):
        if count < 1000:
            return f"{count:.0f}{unit}" if unit in "BK" or count >= 100 else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:.1f}T"


def in_bytes(count: float) -> str:
    """e.g. 812B, 12KB, 4.7GB: for sentences."""
    short = size(count)
    return short if short.endswith("B") else f"{short}B"


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M")


def day(at: float, now: float) -> str:
    """The time for today, day and month for this year, else year and month."""
    then, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    if then.date() == today.date():
        return then.strftime("%H:%M")
    return then.strftime("%d %b" if then.year == today.year else "%Y-%m")


def navigation(current: str, title: str, width: int) -> str:
    """`[1 Chat] 2 Models` and the title at the right edge, as far as there is room."""
    tabs = " ".join(f"[{name}]" if key == current else f" {name} " for key, name in SCREENS)
    room = width - len(tabs) - 2
    shown = one_line(title, room) if room >= 8 else ""
    return tabs + " " * max(1, width - len(tabs) - len(shown)) + shown


def status_line(link: Link, width: int) -> str:
    """Never hidden. Whether anything leaves this machine comes first, and is never cut."""
    if link.refused:
        return f"the node refuses this program: {one_line(link.reason)}; try {link.tries}"
    if link.tries:
        return f"no answer from the node: reconnecting, try {link.tries}; your draft is safe"
    if link.status is None:
        return "connecting to the node …"
    status = link.status
    extras = [f"{status.jobs_running} answering"] if status.jobs_running else []
    extras += [f"warning: {status.warnings[0]}"] if status.warnings else []
    if not status.backed_up:
        extras.append("keys: no backup yet (node identity backup)")
    line = one_line(status.network)
    for extra in extras:
        if len(line) + len(extra) + 3 <= width:
            line += f" | {extra}"
    return line


def asked(link: Link, chosen: str = "") -> str:
    """Who the next message goes to."""
    if link.status is None:
        return "to: not connected"
    name = one_line(chosen or link.status.default_model, 60)
    if not name:
        return "to: no model yet (F3, then a or p)"
    starter = " (tiny: F3 adds a real one)" if name == "starter" else ""
    return f"to: {name} on this machine{starter}"


def fitting(keys: Sequence[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    """As many `(key, word)` pairs as a key line of this width has room for, the first ones first."""
    found, used = [], 0
    for key, word in keys:
        used += len(key) + 1 + len(word) + 2
        if used - 2 > width:
            break
        found.append((key, word))
    return found
