"""What an empty chat says: who is asked, that nothing leaves this machine, what to try."""

from __future__ import annotations

from typing import cast

from textual.content import Content

from tui.frame import Line
from tui.host import Host
from tui.link import Link
from tui.view import one_line

TRY = ("tell me a joke", "what leaves my machine?", "how do I add a model?")


def words(link: Link) -> list[tuple[str, str]]:
    """The page's paragraphs with their styles."""
    if link.status is None:
        gone = link.tries > 0
        return [
            ("The node does not answer." if gone else "Connecting to the node …", "bold"),
            ("Start it with `node start`; this page goes on by itself." if gone else "", ""),
        ]
    model = one_line(link.status.default_model, 60)
    if not model:
        return [
            ("There is no model yet that could answer.", "bold"),
            ("F3 shows the models: a adds a file, p pulls one.", ""),
        ]
    starter = model == "starter"
    return [
        (f"You ask {model}, a model on this machine.", "bold"),
        (
            "It is the starter model: tiny, and only good for jokes, small sums, and questions about"
            " this node. F3 adds a real one."
            if starter
            else "",
            "",
        ),
        ("Your questions and its answers do not leave this machine.", "$success"),
    ]


class Welcome(Line):
    def __init__(self) -> None:
        super().__init__(id="welcome")

    def on_mount(self) -> None:
        self.watch(cast(Host, self.app), "link", self._draw)

    def _draw(self, link: Link) -> None:
        parts: list[tuple[str, str]] = [("Kith", "$accent bold")]
        for text, style in words(link):
            parts += [(f"\n\n{text}", style)] if text else []
        if link.status is not None and link.status.default_model:
            parts.append(("\n\nTry", "$muted"))
            parts += [(f"\n  {example}", "$accent") for example in TRY]
        self.put(Content.assemble(*parts))
