"""What every answer with a status of 400 or more holds."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong: in a word, in a sentence, and what to do about it."""

    code: str
    message: str
    hint: str = ""


class ProblemAnswer(msgspec.Struct, frozen=True):
    """Every answer with a status of 400 or more, in OpenAI's shape too (`error.message`)."""

    error: Problem
