"""Chat templates: programs that come with a model, so nobody's friend.

A template runs in jinja2's immutable sandbox with four more walls, because the sandbox alone lets it
run for ever and take all memory:

- time: a timer of processor time raises in the middle of it (`RENDER_S`; main thread only, and then
  nothing else runs meanwhile, which is why it is short);
- size: every string that an operator, a filter or a method makes is bounded (`MAX_TEXT`), and the
  ones that could be huge at a stroke are computed only after their size was predicted;
- words: only the filters that chat templates use are there, and no constant folding at compile time;
- source: its length is bounded.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from jinja2 import Template

from models.backends.base import ChatFormat, RequestError
from models.template_sandbox import Refused, Sandbox, check_size
from protocols.jobs import Message

RENDER_S = 1.0
MAX_SOURCE = 256 * 1024

#: For models without a template of their own.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class _TooLong(BaseException):
    """Out of time. No Exception, so that nothing inside a template's run can swallow it."""


class ChatTemplate:
    """The way of one model from messages to a prompt. Every failure is a RequestError."""

    def __init__(self, chat_format: ChatFormat) -> None:
        self._source = chat_format.template if chat_format.template is not None else CHATML
        self._variables = {"bos_token": chat_format.bos, "eos_token": chat_format.eos}
        self._environment = Sandbox()
        self._compiled: Template | None = None

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt's text, ending where the model begins to answer."""
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            with _time_limit(RENDER_S):
                return self._render(plain)
        except _TooLong:
            why = f"it ran for longer than {RENDER_S:g} s"
        except RecursionError:
            why = "it calls itself without end"
        except MemoryError:
            why = "it needs too much memory"
        except Exception as error:  # noqa: BLE001  whatever a hostile template raises ends here
            why = _short(error)
        raise RequestError("bad_request", f"the model's chat template cannot take this chat: {why}")

    def _render(self, messages: list[dict[str, str]]) -> str:
        if self._compiled is None:
            if len(self._source) > MAX_SOURCE:
                raise Refused(f"it is longer than {MAX_SOURCE} characters")
            self._compiled = self._environment.from_string(self._source)
        size, chunks = 0, []
        for chunk in self._compiled.generate(
            messages=messages,
            add_generation_prompt=True,
            tools=None,
            documents=None,
            **self._variables,
        ):
            size += len(chunk)
            check_size(size)
            chunks.append(chunk)
        return "".join(chunks)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _TooLong in this thread after so much processor time. Only the main thread can be stopped."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("templates are rendered in the main thread only")
    running = True

    def expire(_number: int, _frame: FrameType | None) -> None:
        if running:
            raise _TooLong

    before = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, seconds, seconds / 10)  # again, should one be swallowed
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
