"""Take the pictures of the documentation: the real interface, a real node, the starter model.

    python scripts/screenshot.py             writes docs/images/chat.png and models.png

Needs `resvg_py` (it draws the picture; `pip install resvg-py`) and a monospaced font, by default
DejaVu Sans Mono. The node lives in a folder of its own that is removed afterwards; nothing is fetched
from outside: what is seen being pulled comes from this script.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from node.home import Home
from node.running import RunningNode, find_running
from tui.api import Api
from tui.app import KithApp
from tui.chat.screen import ChatScreen
from tui.link import Pace
from tui.models.screen import ModelsScreen

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SIZE = (100, 30)
FONT = "DejaVu Sans Mono"
PATIENCE_S = 60.0
MOST_BYTES = 300_000
QUESTIONS = ("where are my keys?", "what leaves my machine?", "tell me a joke")
PULLED = "example-4b-q4_k_m.gguf"
PULLED_BYTES = 2_497_280_256
BYTES_PER_S = 24_000_000


@contextmanager
def a_node(folder: Path) -> Iterator[RunningNode]:
    """A node with a home in `folder`, ready to answer."""
    home = Home(folder)
    words = ["start", "--foreground", "--home", str(folder), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "node.cli.main", *words],
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while (node := find_running(home)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the node did not start")
            time.sleep(0.05)
        yield node
    finally:
        process.terminate()
        process.wait(15)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - any kind of change may make it so
            await asyncio.sleep(0.02)


@asynccontextmanager
async def a_slow_server() -> AsyncIterator[str]:
    """Serves one large file at the pace of a home's line; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b'HTTP/1.1 200 OK\r\naccept-ranges: bytes\r\netag: "x"\r\n'
                b"content-length: %d\r\nconnection: close\r\n\r\n" % PULLED_BYTES
            )
            step = b"GGUF" + bytes(BYTES_PER_S // 20 - 4)
            while not head.startswith(b"HEAD"):
                writer.write(step)
                await writer.drain()
                await asyncio.sleep(1 / 20)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{PULLED}"
    finally:
        server.close()


async def take(node: RunningNode) -> dict[str, str]:
    """The pictures as SVG."""
    app = KithApp(Api(node.address, Path(node.token_file)), Pace(calm=0.5))
    async with app.run_test(size=SIZE) as pilot, a_slow_server() as address:
        chat = app.screen
        assert isinstance(chat, ChatScreen)
        await until(lambda: app.link.up)
        for count, question in enumerate(QUESTIONS, start=1):
            chat.prompt.put(question)
            await pilot.press("enter")
            await until(partial(_answered, chat, count))
        await pilot.press(*"how do I add a model")
        await asyncio.sleep(0.5)
        pictures = {"chat": app.export_screenshot(title="node tui")}
        await pilot.press("f3")
        await until(lambda: isinstance(app.screen, ModelsScreen) and app.screen.selected)
        await pilot.press("p")
        await asyncio.sleep(0.5)
        await pilot.press(*address, "enter")
        models = await _seen_pulling(app)
        await pilot.press("j")
        await asyncio.sleep(1)
        pictures["models"] = app.export_screenshot(title="node tui")
        models.table.move_cursor(row=0)
        await pilot.press("s")
        await asyncio.sleep(0.5)
    return pictures


def _answered(chat: ChatScreen, count: int) -> bool:
    return len(chat.transcript.messages) == 2 * count and not chat.answering


async def _seen_pulling(app: KithApp) -> ModelsScreen:
    await until(lambda: isinstance(app.screen, ModelsScreen))
    screen = app.screen
    assert isinstance(screen, ModelsScreen)
    await until(lambda: any("left" in row.cells[1] for row in screen._rows))
    await asyncio.sleep(4)
    return screen


def as_png(svg: str) -> bytes:
    """Without the fonts that the SVG would fetch from elsewhere."""
    try:
        import resvg_py
    except ImportError:
        raise SystemExit("screenshot: resvg_py is missing: pip install resvg-py") from None
    own = re.sub(r"@font-face\s*\{[^}]*\}", "", svg)
    own = re.sub(r"font-family:[^;}]*", f"font-family: {FONT}", own)
    return bytes(resvg_py.svg_to_bytes(svg_string=own, font_family=FONT, width=1220))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, a_node(Path(folder) / "home") as node:
        pictures = asyncio.run(take(node))
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, svg in pictures.items():
        png = as_png(svg)
        if len(png) > MOST_BYTES:
            print(f"screenshot: {name}.png has {len(png)} bytes, more than {MOST_BYTES}")
            return 1
        (IMAGES / f"{name}.png").write_bytes(png)
        print(f"docs/images/{name}.png  {len(png)} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
