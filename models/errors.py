"""The one error for a file that is not a usable model."""

from pathlib import PurePath

GET_AGAIN = "Download it again, or take it from another source"
_SHOWN_CHARACTERS = 80


class BadModel(ValueError):
    """A file or folder that is no usable model; the text says what, why and what to do."""

    def __init__(self, why: str, todo: str = GET_AGAIN, name: str = "this file") -> None:
        super().__init__(f"{name} is not a usable model: {why}. {todo}.")
        self.why, self.todo, self.name = why, todo, name

    def named(self, path: PurePath) -> "BadModel":
        """The same error that names its file, unless it names one already."""
        if self.name != "this file":
            return self
        return BadModel(self.why, self.todo, shown(path.name or str(path)))


def shown(text: str | bytes, limit: int = _SHOWN_CHARACTERS) -> str:
    """Untrusted text made fit for a screen or a log: printable, one line, short."""
    if isinstance(text, bytes):
        text = text[: limit * 4 + 4].decode("utf-8", "replace")
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
