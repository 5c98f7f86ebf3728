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

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.nodes import CallBlock, Concat, Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from models.backends.base import ChatFormat, RequestError
from protocols.jobs import Message

RENDER_S = 1.0
MAX_SOURCE = 256 * 1024
MAX_TEXT = 4 * 1024 * 1024
MAX_NUMBER_BITS = 256

#: For models without a template of their own.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_FILTERS = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "sort",
    "string",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
]


class _TooLong(BaseException):
    """Out of time. No Exception, so that nothing inside a template's run can swallow it."""


class _Refused(TemplateError):
    """The template asked for something that no chat template needs."""


class ChatTemplate:
    """The way of one model from messages to a prompt. Every failure is a RequestError."""

    def __init__(self, chat_format: ChatFormat) -> None:
        self._source = chat_format.template if chat_format.template is not None else CHATML
        self._variables = {"bos_token": chat_format.bos, "eos_token": chat_format.eos}
        self._environment = _Environment()

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
        if len(self._source) > MAX_SOURCE:
            raise _Refused(f"it is longer than {MAX_SOURCE} characters")
        template = self._environment.from_string(self._source)
        size, chunks = 0, []
        for chunk in template.generate(
            messages=messages,
            add_generation_prompt=True,
            tools=None,
            documents=None,
            **self._variables,
        ):
            size += len(chunk)
            if size > MAX_TEXT:
                raise _Refused(f"it makes more than {MAX_TEXT} characters")
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


class _Generator(CodeGenerator):
    """Lets `~` pass through the environment, as the other operators do."""

    def visit_Concat(self, node: Concat, frame: Frame) -> None:  # noqa: N802  jinja2's name
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Generation(Extension):
    """`{% generation %}` marks what an assistant said, for training; here it marks nothing."""

    tags = {"generation"}  # noqa: RUF012  jinja2 declares it so

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Any) -> Any:
        return caller()


class _Environment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox with bounds on what one operation may make."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "//"})
    code_generator_class = _Generator

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            extensions=[loopcontrols, _Generation],
            cache_size=4,
        )
        self.filters = {name: _bounded(FILTERS[name]) for name in _FILTERS}
        self.filters.update(tojson=_tojson, join=_join, replace=_replace, indent=_indent)
        self.globals = {
            "range": self.globals["range"],
            "dict": dict,
            "namespace": self.globals["namespace"],
            "raise_exception": _raise,
            "strftime_now": _now,
        }

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*" and not (_number(left) and _number(right)):
            times = right if isinstance(right, int) else left
            repeated = left if times is right else right
            _check_size(len(repeated) * max(int(times), 0))
        elif operator == "**" or (operator == "%" and isinstance(left, str)):
            raise _Refused(f"the operator {operator} is not for chat templates")
        elif operator == "+" and isinstance(left, str | list | tuple):
            _check_size(len(left) + len(right))
        return _checked(super().call_binop(context, operator, left, right))

    def joined(self, parts: tuple[Any, ...]) -> str:
        """What `a ~ b` means."""
        texts = [str(part) for part in parts]
        _check_size(sum(map(len, texts)))
        return "".join(texts)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            return _text_method(owner, function.__name__, args, kwargs)
        if isinstance(owner, int | bytes):
            raise _Refused("methods of numbers are not for chat templates")
        return _checked(super().call(context, function, *args, **kwargs))


_TEXT_METHODS = frozenset(
    [
        "capitalize",
        "casefold",
        "count",
        "endswith",
        "find",
        "index",
        "isalnum",
        "isalpha",
        "isdigit",
        "islower",
        "isspace",
        "istitle",
        "isupper",
        "lower",
        "lstrip",
        "partition",
        "removeprefix",
        "removesuffix",
        "rfind",
        "rindex",
        "rpartition",
        "rsplit",
        "rstrip",
        "split",
        "splitlines",
        "startswith",
        "strip",
        "swapcase",
        "title",
        "upper",
    ]
)


def _text_method(owner: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The methods of strings that cannot make much of little."""
    if name == "replace":
        return _replace(owner, *args, **kwargs)
    if name == "join":
        return _join(args[0], owner)
    if name == "format":
        return _format(owner, args, kwargs)
    if name not in _TEXT_METHODS:
        raise _Refused(f"the string method {name} is not for chat templates")
    return _checked(getattr(owner, name)(*args, **kwargs))


def _format(owner: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Only `{}`, `{0}` and `{name}`: no attributes, no widths."""
    import string

    parts: list[str] = []
    automatic = iter(args)
    for text, field, spec, conversion in string.Formatter().parse(owner):
        parts.append(text)
        if field is None:
            continue
        if spec or conversion or not (field == "" or field.isidentifier() or field.isdecimal()):
            raise _Refused("only plain fields may be formatted")
        if field == "":
            parts.append(str(next(automatic)))
        else:
            parts.append(str(args[int(field)] if field.isdecimal() else kwargs[field]))
        _check_size(sum(map(len, parts)))
    return "".join(parts)


def _bounded(function: Any) -> Any:
    """A filter whose result is checked; jinja2's marks on the function are kept."""
    if not hasattr(function, "jinja_pass_arg") and not hasattr(function, "jinja_async_variant"):

        def checked(*args: Any, **kwargs: Any) -> Any:
            return _checked(function(*args, **kwargs))

        return checked
    return function


def _checked(value: Any) -> Any:
    if isinstance(value, str | list | tuple | dict):
        _check_size(len(value))
    elif isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
        raise _Refused("it computes with huge numbers")
    return value


def _check_size(size: int) -> None:
    if size > MAX_TEXT:
        raise _Refused(f"it makes more than {MAX_TEXT} characters")


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _join(value: Any, d: str = "", attribute: str | None = None) -> str:
    texts = []
    size = 0
    for item in value:
        text = str(item if attribute is None else item[attribute])
        size += len(text) + len(d)
        _check_size(size)
        texts.append(text)
    return str(d).join(texts)


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    most = -1 if count is None else count
    found = text.count(old) if most < 0 else min(text.count(old), most)
    _check_size(len(text) + found * max(len(new) - len(old), 0))
    return text.replace(old, new, most)


def _indent(value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    text, space = str(value), " " * min(max(int(width), 0), 100)
    _check_size(len(text) + (text.count("\n") + 1) * len(space))
    lines = text.split("\n")
    return "\n".join(
        space + line if (line or blank) and (number or first) else line
        for number, line in enumerate(lines)
    )


def _tojson(
    value: Any, indent: int | None = None, ensure_ascii: bool = False, sort_keys: bool = False
) -> str:
    width = None if indent is None else min(max(int(indent), 0), 16)
    return str(
        _checked(json.dumps(value, ensure_ascii=ensure_ascii, indent=width, sort_keys=sort_keys))
    )


def _raise(message: object = "") -> NoReturn:
    raise _Refused(str(message))


def _now(form: str) -> str:
    if len(form) > 100:
        raise _Refused("the date format is too long")
    return datetime.now().astimezone().strftime(form)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
