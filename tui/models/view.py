"""Models and transfers in words: plain functions, no widgets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from protocols.http.control import Memory, ModelEntry, Removed, Transfer
from tui.view import in_bytes, minutes, one_line, size

HEADINGS = ("Model", "State", "Size", "Fits here", "Quant")  # what matters most comes first
NAME_CHARS = 36
UNDER_WAY = ("waiting", "running", "checking")


@dataclass(frozen=True)
class Row:
    """One line of the table: a model, or a transfer that will become one."""

    key: str
    cells: tuple[str, ...]
    detail: str
    model: ModelEntry | None = None
    transfer: Transfer | None = None


def rows(models: Iterable[ModelEntry], transfers: Iterable[Transfer], query: str = "") -> list[Row]:
    """Transfers under way or failed first, then the models: default, then by name."""
    found = [transfer_row(each) for each in transfers if each.state != "done"]
    found += [
        model_row(each)
        for each in sorted(models, key=lambda m: (not m.default, m.starter, m.name.lower()))
    ]
    words = query.lower().split()
    return [row for row in found if all(word in _searched(row) for word in words)]


def _searched(row: Row) -> str:
    return " ".join(row.cells).lower()


def model_row(model: ModelEntry) -> Row:
    """State is always a word."""
    words: list[str] = [model.state]
    words += ["default"] if model.default else []
    words += ["starter"] if model.starter else []
    words += ["embeddings"] if model.embedding else []
    cells = (
        one_line(model.name, NAME_CHARS),
        ", ".join(words),
        size(model.size),
        model.fits,
        one_line(model.quantisation, 12) or "-",
    )
    return Row(f"model:{model.name}", cells, model_detail(model), model=model)


def model_detail(model: ModelEntry) -> str:
    count = f"{model.parameters / 1e6:,.1f} M parameters" if model.parameters else "size unknown"
    context = f"context {model.context_length}" if model.context_length else "context unknown"
    licence = one_line(model.licence, 40) or "licence not stated"
    needs = f"needs {in_bytes(model.memory_needed)} of memory"
    long = [one_line(model.name)] if len(model.name) > NAME_CHARS else []
    return "\n".join(
        [
            *long,
            " | ".join([one_line(model.architecture, 30) or model.kind, count, context, licence]),
            f"{needs} | {one_line(model.fit_reason)}" if model.fit_reason else needs,
            f"source: {one_line(model.source)} | label {model.label}",
            one_line(model.cid),
        ]
    )


def transfer_row(transfer: Transfer) -> Row:
    name = one_line(transfer.name or transfer.ref, NAME_CHARS)
    total = size(transfer.total) if transfer.total else "-"
    cells = (name, progress(transfer), total, "-", "-")
    detail = "\n".join(
        [
            f"{'pulling' if transfer.kind == 'pull' else 'adding'} {one_line(transfer.ref)}",
            one_line(transfer.message) or transfer.state,
            next_step(transfer),
        ]
    )
    return Row(f"transfer:{transfer.id}", cells, detail, transfer=transfer)


def progress(transfer: Transfer) -> str:
    """e.g. `41 %, 6.1M/s, 7 min left`: the state in words, first things first."""
    if transfer.state != "running":
        return {"waiting": "waiting", "checking": "checking the file"}.get(
            transfer.state, transfer.state
        )
    if not transfer.total:
        return f"{size(transfer.done)} so far, {_rate(transfer)}"
    share = 100 * transfer.done // transfer.total
    left = "" if transfer.eta_s is None else f", {minutes(transfer.eta_s)} left"
    return f"{share} %, {_rate(transfer)}{left}"


def _rate(transfer: Transfer) -> str:
    return f"{size(transfer.rate)}/s" if transfer.rate > 0 else "stalled"


def next_step(transfer: Transfer) -> str:
    if transfer.state in UNDER_WAY:
        return "s stops it; closing this program does not"
    if transfer.kind == "pull":
        return "what came is kept: Enter goes on with it, x hides this line"
    return "Enter tries again, x hides this line"


def memory_line(memory: Memory) -> str:
    return (
        f"memory {in_bytes(memory.total)}, free {in_bytes(memory.available)}"
        f" | models use {in_bytes(memory.models_used)} of {in_bytes(memory.models_budget)}"
    )


def question_before_removal(model: ModelEntry) -> str:
    """What removing it means, before it happens."""
    name = one_line(model.name, 60)
    if model.starter:
        return f"Remove {name}, the built-in starter? It leaves the list of models."
    if model.storage == "own":
        return f"Remove {name}? Its file is deleted: {in_bytes(model.size)} are freed."
    if model.storage == "linked":
        return f"Remove {name}? The link of this node goes; the file you added stays."
    return f"Remove {name}? It leaves the list; its file belongs to another program and stays."


def removed(answer: Removed) -> str:
    freed = f"{in_bytes(answer.freed)} freed" if answer.freed else "no file was deleted"
    return f"{one_line(answer.name, 60)} is removed; {freed}"


def path_of(typed: str, home: Path, here: Path) -> str:
    """What a person typed as a path, as the node needs it: the node has another working folder."""
    text = typed.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text == "~" or text.startswith("~/"):
        return str(home / text[2:])
    return str(here / text)
