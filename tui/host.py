"""The application as its screens know it: the node's API, whether it answers, what failed."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Final

from rich.segment import Segment, Segments
from textual.app import App
from textual.filter import ANSIToTruecolor, NoColor
from textual.reactive import reactive

from tui.api import Api
from tui.link import CALM, Link, Pace, Watch
from tui.terminal import PlainText, speaks_utf8
from tui.themes import DARK, LIGHT

ROOT: Final = Path(__file__).resolve().parent
LEAVING: Final = "Ctrl+Q leaves; the node keeps running"


class Host(App[None]):
    """Owns the API client and the watch over the node; screens follow `link`."""

    link: reactive[Link] = reactive(Link)

    def __init__(self, api: Api, pace: Pace = CALM) -> None:
        super().__init__()
        self.api = api
        self.pace = pace
        self.watch_over = Watch(api, self._learn, pace)
        self.ascii_only = not speaks_utf8(os.environ)
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = "ansi-dark" if self.no_color else DARK.name
        self._set_filters()

    def on_mount(self) -> None:
        self.run_worker(self.watch_over.run(), group="watch", exit_on_error=True)

    async def on_unmount(self) -> None:
        self.workers.cancel_all()
        await self.api.aclose()

    def _learn(self, link: Link) -> None:
        self.link = link

    def _set_filters(self) -> None:
        """Without colours where the person asked for none; in any case plain text only."""
        kept = [each for each in self._filters if isinstance(each, ANSIToTruecolor)]
        plain = PlainText(ascii_only=self.ascii_only)
        self._filters = [*kept, *([NoColor()] if self.no_color else []), plain]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """For themes that are not ours."""
        return {"muted": "ansi_default", "line": "ansi_default", "code": "ansi_default"}

    def _fatal_error(self) -> None:
        """What went wrong and where, without any value: prompts and keys stay out of it."""
        text = "\n".join(["", *failure_report(self._exception), ""])
        self._exit_renderables.append(Segments([Segment(text)]))
        self._close_messages_no_wait()


def failure_report(error: BaseException | None) -> list[str]:
    """The places that the error came through; its message may quote what was typed, so no message."""
    lines = ["The terminal interface failed; the node keeps running. `node tui` opens it again."]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        lines.append(f"{type(error).__name__} at:")
        lines += [
            f"  {_short(frame.filename)}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)[-12:]
        ]
        error = error.__cause__ or error.__context__ or getattr(error, "error", None)
    return lines


def _short(filename: str) -> str:
    path = Path(filename)
    return (
        str(path.relative_to(ROOT.parent))
        if path.is_relative_to(ROOT)
        else "/".join(path.parts[-2:])
    )
