"""From the API's answers to what the screens show: plain functions, no widgets."""

from __future__ import annotations

from datetime import datetime

from protocols.http.control import ChatMessage, Conversation, ModelEntry, Status, Transfer


def size(count: float) -> str:
    """e.g. 1.2M, 4.7G: short, for columns."""
    for unit in ("B", "K", "M", "G"):
        if count < 1000:
            return f"{count:.0f}{unit}" if unit in "BK" or count >= 100 else f"{count:.1f}{unit}"
        count /= 1000
    return f"{count:.1f}T"


def clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M")


def day(at: float, now: float) -> str:
    """The time for today, the date for before."""
    then, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    return then.strftime("%H:%M" if then.date() == today.date() else "%Y-%m-%d")


def branch(conversation: Conversation) -> list[ChatMessage]:
    """The messages from the root to the head that is shown, oldest first."""
    by_id = {message.id: message for message in conversation.messages}
    path: list[ChatMessage] = []
    at = conversation.head
    while at is not None and at in by_id and len(path) < len(by_id):
        path.append(by_id[at])
        at = by_id[at].parent
    return path[::-1]


def title_of(conversation: Conversation | None) -> str:
    return (conversation.title if conversation else "") or "new chat"


def answered(message: ChatMessage) -> str:
    """The line below an answer: who, how much, how fast, and whether it is whole."""
    if message.state == "running":
        return "writing …"
    parts = ["this machine"]
    if message.tokens:
        parts.append(f"{message.tokens} tok")
    if message.tokens_per_s:
        parts.append(f"{message.tokens_per_s:.0f} tok/s")
    if message.first_token_s:
        parts.append(f"first {message.first_token_s:.1f} s")
    if message.state == "unfinished":
        parts.append("stopped; what came is kept")
    if message.state == "failed":
        parts.append(f"failed: {message.error}" if message.error else "failed")
    return " | ".join(parts)


def speaker(message: ChatMessage) -> str:
    if message.role == "user":
        return f"You  {clock(message.at)}"
    if message.role == "system":
        return "Instructions"
    return f"{message.model or 'model'}  {clock(message.at)}"


def status_line(status: Status | None, tries: int) -> str:
    """Never hidden: says in words whether anything leaves this machine."""
    if status is None:
        return (
            "connecting …"
            if tries == 0
            else f"the node does not answer: reconnecting, try {tries}; your draft is safe"
        )
    parts = [status.network, f"model: {status.default_model}"]
    if status.default_model == "starter":
        parts[-1] += " (tiny; add a real one on the Models screen)"
    if status.jobs_running:
        parts.append(f"{status.jobs_running} answering")
    if not status.backed_up:
        parts.append("keys: no backup yet (node identity backup)")
    return " | ".join(parts)


def model_row(model: ModelEntry) -> tuple[str, ...]:
    """Name, size, quantisation, fits, state: state is always a word."""
    words = [model.state]
    words += ["default"] if model.default else []
    words += ["starter"] if model.starter else []
    return (model.name, size(model.size), model.quantisation or "-", model.fits, ", ".join(words))


def model_detail(model: ModelEntry) -> str:
    count = f"{model.parameters / 1e6:,.1f} M parameters" if model.parameters else "size unknown"
    context = f"context {model.context_length}" if model.context_length else "context unknown"
    first = " | ".join(
        [model.architecture or model.kind, count, context, model.licence or "licence not stated"]
    )
    second = (
        f"needs {size(model.memory_needed)} | {model.fit_reason}"
        if model.fit_reason
        else f"needs {size(model.memory_needed)}"
    )
    return "\n".join([first, second, f"{model.source} | label {model.label}", model.cid])


def transfer_line(transfer: Transfer, width: int) -> str:
    """e.g. `qwen3-4b  41 % of 2.6G  6.1M/s  7 min left`"""
    if transfer.state != "running" or not transfer.total:
        return f"{transfer.name}  {transfer.state}  {transfer.message}"[:width].rstrip()
    share = 100 * transfer.done // transfer.total
    left = "stalled" if transfer.eta_s is None else f"{minutes(transfer.eta_s)} left"
    return f"{transfer.name}  {share} % of {size(transfer.total)}  {size(transfer.rate)}/s  {left}"[
        :width
    ]


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
