"""Reads the corpus: plain text files, described in corpus/README.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
KINDS = ("do", "what", "where", "can", "ask")
SPLITS = ("train", "dev", "test")


class CorpusError(Exception):
    """A corpus file is malformed; the message names the file and the line."""


@dataclass
class Block:
    """One intent, topic, family of frames or set of system prompts."""

    name: str
    answers: list[str] = field(default_factory=list)
    phrases: dict[str, list[str]] = field(default_factory=dict)  # kind -> wordings
    held: list[str] = field(default_factory=list)
    split: str = "train"
    kind: str = ""  # frames only

    def wordings(self) -> list[tuple[str, str]]:
        """Every (kind, wording) that may be trained on when the split allows it."""
        return [(kind, text) for kind in KINDS for text in self.phrases.get(kind, [])]

    def held_for(self, split: str) -> list[str]:
        """The held-out whole questions of one split: dev has the first, third ..., test the rest."""
        return self.held[0::2] if split == "dev" else self.held[1::2]


@dataclass(frozen=True)
class Corpus:
    jokes: list[str]
    node: list[Block]
    talk: list[Block]
    unknown: list[Block]
    decline: list[str]
    capitals: dict[str, str]
    frames: list[Block]
    system: list[Block]
    synonyms: list[list[str]]
    fresh: list[Block]

    def frames_of(self, kind: str, split: str) -> list[str]:
        """The frames of a kind whose families belong to a split."""
        blocks = (b for b in self.frames if b.kind == kind and b.split == split)
        return [frame for block in blocks for frame in block.phrases["frames"]]


def load_corpus(folder: Path = FOLDER) -> Corpus:
    """Read every file. `CorpusError` for an unknown line, kind or split, and for repeated names."""
    node = [block for path in sorted(folder.glob("node_*.txt")) for block in read_blocks(path)]
    _unique([block.name for block in node], "node_*.txt")
    return Corpus(
        jokes=_lines(folder / "jokes.txt"),
        node=node,
        talk=read_blocks(folder / "talk.txt"),
        unknown=read_blocks(folder / "unknown.txt"),
        decline=_lines(folder / "decline.txt"),
        capitals=dict(_pair(line) for line in _lines(folder / "capitals.txt")),
        frames=read_blocks(folder / "frames.txt"),
        system=read_blocks(folder / "system.txt"),
        synonyms=[line.split(" | ") for line in _lines(folder / "synonyms.txt")],
        fresh=read_blocks(folder / "fresh.txt"),
    )


def read_blocks(path: Path) -> list[Block]:
    blocks: list[Block] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("= "):
            blocks.append(Block(line[2:].strip()))
        elif not blocks or not _add_line(blocks[-1], line):
            raise CorpusError(f"{path.name}:{number}: cannot read '{line[:60]}'")
    _unique([block.name for block in blocks], path.name)
    return blocks


def _add_line(block: Block, line: str) -> bool:
    if line.startswith("> "):
        block.answers.append(line[2:].strip())
        return True
    key, _, rest = line.partition(":")
    rest = rest.strip()
    values = [value.strip() for value in rest.split("|")]
    if not all(values):
        return False
    if key == "split" and rest in SPLITS:
        block.split = rest
    elif key == "kind":
        block.kind = rest
    elif key == "held":
        block.held += values
    elif key in KINDS or key == "frames":
        block.phrases.setdefault(key, []).extend(values)
    else:
        return False
    return True


def _lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _pair(line: str) -> tuple[str, str]:
    left, separator, right = line.partition(": ")
    if not separator:
        raise CorpusError(f"capitals.txt: '{line}' is not 'country: capital'")
    return left, right


def _unique(names: list[str], where: str) -> None:
    doubles = {name for name in names if names.count(name) > 1}
    if doubles:
        raise CorpusError(f"{where}: used twice: {', '.join(sorted(doubles))}")
