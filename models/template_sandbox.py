"""The sandbox of chat templates: jinja2's own, with bounds on what one operation may make.

`models.templates` says why, and adds the bound on time.
"""

from __future__ import annotations

import json
import string
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.nodes import CallBlock, Concat, Node
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEXT = 4 * 1024 * 1024
MAX_NUMBER_BITS = 256

_JINJA_WORDS = frozenset({"_loop_vars", "_block_vars"})  # added by jinja2 to every call in a loop
_FILTERS = (
    "abs", "attr", "batch", "capitalize", "count", "d", "default", "dictsort", "e", "escape",
    "first", "float", "int", "items", "last", "length", "list", "lower", "map", "max", "min",
    "reject", "rejectattr", "reverse", "round", "safe", "select", "selectattr", "sort", "string",
    "sum", "title", "trim", "unique", "upper",
)  # fmt: skip
#: The methods of strings that cannot make much of little.
_TEXT_METHODS = frozenset((
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha",
    "isdigit", "islower", "isspace", "istitle", "isupper", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "upper",
))  # fmt: skip


class Refused(TemplateError):
    """The template asked for something that no chat template needs."""


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


class Sandbox(ImmutableSandboxedEnvironment):
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
            check_size(len(repeated) * max(int(times), 0))
        elif operator == "**" or (operator == "%" and isinstance(left, str)):
            raise Refused(f"the operator {operator} is not for chat templates")
        elif operator == "+" and isinstance(left, str | list | tuple):
            check_size(len(left) + len(right))
        return _checked(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Any:
        """jinja2 asks here for a safe way to call a string's `format`."""
        owner = getattr(value, "__self__", None)
        if not isinstance(owner, str) or value.__name__ not in ("format", "format_map"):
            return None

        def formatted(*args: Any, **kwargs: Any) -> str:
            return _format(owner, args, kwargs)

        return formatted

    def joined(self, parts: tuple[Any, ...]) -> str:
        """What `a ~ b` means."""
        texts = [str(part) for part in parts]
        check_size(sum(map(len, texts)))
        return "".join(texts)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str):
            plain = {name: kwargs[name] for name in kwargs.keys() - _JINJA_WORDS}
            return _text_method(owner, function.__name__, args, plain)
        if isinstance(owner, int | bytes):
            raise Refused("methods of numbers are not for chat templates")
        return _checked(super().call(context, function, *args, **kwargs))


def _text_method(owner: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method of a string, if it is one that is allowed."""
    if name == "replace":
        return _replace(owner, *args, **kwargs)
    if name == "join":
        return _join(args[0], owner)
    if name not in _TEXT_METHODS:
        raise Refused(f"the string method {name} is not for chat templates")
    return _checked(getattr(owner, name)(*args, **kwargs))


def _format(owner: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Only `{}`, `{0}` and `{name}`: no attributes, no widths."""
    parts: list[str] = []
    automatic = iter(args)
    for text, field, spec, conversion in string.Formatter().parse(owner):
        parts.append(text)
        if field is None:
            continue
        if spec or conversion or not (field == "" or field.isidentifier() or field.isdecimal()):
            raise Refused("only plain fields may be formatted")
        if field == "":
            parts.append(str(next(automatic)))
        else:
            parts.append(str(args[int(field)] if field.isdecimal() else kwargs[field]))
        check_size(sum(map(len, parts)))
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
        check_size(len(value))
    elif isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS:
        raise Refused("it computes with huge numbers")
    return value


def check_size(size: int) -> None:
    if size > MAX_TEXT:
        raise Refused(f"it makes more than {MAX_TEXT} characters")


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _join(value: Any, d: str = "", attribute: str | None = None) -> str:
    texts = []
    size = 0
    for item in value:
        text = str(item if attribute is None else item[attribute])
        size += len(text) + len(d)
        check_size(size)
        texts.append(text)
    return str(d).join(texts)


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    most = -1 if count is None else count
    found = text.count(old) if most < 0 else min(text.count(old), most)
    check_size(len(text) + found * max(len(new) - len(old), 0))
    return text.replace(old, new, most)


def _indent(value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    text, space = str(value), " " * min(max(int(width), 0), 100)
    check_size(len(text) + (text.count("\n") + 1) * len(space))
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
    raise Refused(str(message))


def _now(form: str) -> str:
    if len(form) > 100:
        raise Refused("the date format is too long")
    return datetime.now().astimezone().strftime(form)
