"""What can be wrong with a request about conversations; the message says what to do."""

from __future__ import annotations

from node.owner import Decision


class ConversationError(Exception):
    """Base of this room's errors. `code` is a short stable word for programs."""

    code = "conversation"


class UnknownConversation(ConversationError):
    code = "conversation_not_found"

    def __init__(self, id: str) -> None:
        super().__init__(f"there is no conversation {id[:64]!r}: `node chat --list` shows them")


class UnknownMessage(ConversationError):
    code = "message_not_found"

    def __init__(self, id: str) -> None:
        super().__init__(f"this conversation has no message {id[:64]!r}")


class Busy(ConversationError):
    """An answer is being written where something else was asked for."""

    code = "conversation_busy"


class BadConversation(ConversationError):
    """A title, text or setting that a conversation cannot have."""

    code = "bad_conversation"


class NotAllowed(ConversationError):
    """`owner.decide()` said no."""

    code = "refused"

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision
