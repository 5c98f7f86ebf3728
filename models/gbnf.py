"""Reads GBNF, the grammars of llama.cpp, into plain rules, under bounds. The check is in `gbnf_check`.

Groups and repetitions become rules of their own, as they do inside llama.cpp. A repetition with
many copies is kept as an endless one: for the questions asked here they are the same, only worse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

MAX_CHARACTERS = 128 * 1024
MAX_RULES = 4096
MAX_DEPTH = 48
MAX_ELEMENTS = 20_000  # after llama.cpp has written out the repetitions
MAX_REPEAT = 1000
LAST_CHARACTER = 0x10FFFF
_FEW_COPIES = 16  # repetitions up to this are written out here too

Ranges = tuple[tuple[int, int], ...]
Symbol = int | Ranges  # the number of a rule, or characters
Sequence = list[Symbol]

_SPACE = re.compile(r"(?:[ \t]|#[^\n]*)*")
_SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_REPEAT = re.compile(r"\{[ \t]*([0-9]{1,6})[ \t]*(?:(,)[ \t]*([0-9]{1,6})?[ \t]*)?\}")
_ESCAPES = {"n": 10, "r": 13, "t": 9, "\\": 92, '"': 34, "[": 91, "]": 93}
_HEX = {"x": 2, "u": 4, "U": 8}


class BadGrammar(ValueError):
    """The grammar is wrong, or more than this node takes; the text says where and why."""


@dataclass(slots=True)
class Grammar:
    """Rules by number; each is a list of alternatives. `names` has a name for every rule."""

    rules: list[list[Sequence]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    root: int = 0


def parse(text: str) -> Grammar:
    """Raises BadGrammar."""
    if len(text) > MAX_CHARACTERS:
        raise BadGrammar(f"the grammar has more than {MAX_CHARACTERS} characters")
    if "\0" in text:
        raise BadGrammar("the grammar contains a zero byte")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._grammar = Grammar()
        self._numbers: dict[str, int] = {}
        self._defined: set[int] = set()
        self._elements = 0

    def parse(self) -> Grammar:
        self._skip(lines=True)
        while self._at < len(self._text):
            self._rule()
            self._skip(lines=True)
        undefined = sorted(set(self._numbers.values()) - self._defined)
        if undefined:
            raise BadGrammar(
                f"the rule {self._grammar.names[undefined[0]]} is used but not defined"
            )
        if "root" not in self._numbers:
            raise BadGrammar("there is no rule named root")
        self._grammar.root = self._numbers["root"]
        return self._grammar

    def _rule(self) -> None:
        number = self._named(self._name())
        self._skip()
        if not self._text.startswith("::=", self._at):
            self._fail("expected ::=")
        self._at += 3
        self._skip(lines=True)
        if number in self._defined:
            self._fail(f"the rule {self._grammar.names[number]} is defined twice")
        self._defined.add(number)
        self._grammar.rules[number] = self._alternatives(0)
        if self._at < len(self._text) and self._text[self._at] not in "\r\n":
            self._fail("expected the end of the line")

    def _alternatives(self, depth: int) -> list[Sequence]:
        if depth > MAX_DEPTH:
            self._fail(f"parentheses are nested deeper than {MAX_DEPTH}")
        found = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            self._skip(lines=True)
            found.append(self._sequence(depth))
        return found

    def _sequence(self, depth: int) -> Sequence:
        sequence: Sequence = []
        while True:
            symbols = self._item(depth)
            if symbols is None:
                return sequence
            self._skip(lines=depth > 0)
            sequence += self._repeated(symbols, depth)

    def _item(self, depth: int) -> Sequence | None:
        char = self._peek()
        if char == '"':
            return self._literal()
        if char == "[":
            return [self._class()]
        if char == ".":
            self._at += 1
            return [((0, LAST_CHARACTER),)]
        if char == "(":
            self._at += 1
            self._skip(lines=True)
            group = self._new(self._alternatives(depth + 1))
            if self._peek() != ")":
                self._fail("expected )")
            self._at += 1
            return [group]
        if _NAME.match(self._text, self._at):
            return [self._named(self._name())]
        if char in ("<", "!"):
            self._fail("tokens by name or number are not supported")
        return None

    def _repeated(self, symbols: Sequence, depth: int) -> Sequence:
        """The symbols with the repetition operators that follow, at most a few in a row."""
        for _ in range(3):
            bounds = self._operator()
            if bounds is None:
                self._spend(len(symbols))
                return symbols
            self._skip(lines=depth > 0)
            symbols = self._repeat(symbols, *bounds)
        self._fail("too many repetitions in a row")

    def _operator(self) -> tuple[int, int | None] | None:
        char = self._peek()
        if char in ("*", "+", "?"):
            self._at += 1
            return (1 if char == "+" else 0), (1 if char == "?" else None)
        if char != "{":
            return None
        match = _REPEAT.match(self._text, self._at)
        if match is None:
            self._fail("expected {m}, {m,} or {m,n}")
        self._at = match.end()
        low = int(match[1])
        high = int(match[3]) if match[3] else (None if match[2] else low)
        if max(low, high or 0) > MAX_REPEAT or (high is not None and high < low):
            self._fail(f"a repetition must be in order and at most {MAX_REPEAT}")
        return low, high

    def _repeat(self, symbols: Sequence, low: int, high: int | None) -> Sequence:
        if not symbols:
            return symbols
        self._spend(len(symbols) * max(low, high or 1))
        body: Sequence = symbols if len(symbols) == 1 else [self._new([symbols])]
        few = low <= _FEW_COPIES and (high is None or high <= _FEW_COPIES)
        if not few:
            return [*body, *self._star(body)] if low else self._star(body)
        out = body * low
        if high is None:
            return out + self._star(body)
        rest: Sequence = []
        for _ in range(high - low):
            rest = [self._new([[*body, *rest], []])]
        return out + rest

    def _star(self, body: Sequence) -> Sequence:
        number = self._new([])
        self._grammar.rules[number] = [[*body, number], []]
        return [number]

    def _literal(self) -> Sequence:
        self._at += 1
        symbols: Sequence = []
        while self._peek() != '"':
            if self._at >= len(self._text):
                self._fail("a text has no closing quote")
            code = self._character()
            symbols.append(((code, code),))
        self._at += 1
        return symbols

    def _class(self) -> Ranges:
        self._at += 1
        negated = self._peek() == "^"
        self._at += negated
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]":
            if self._at >= len(self._text):
                self._fail("a set of characters has no closing bracket")
            low = high = self._character()
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._character()
            if high < low:
                self._fail("a range of characters is in the wrong order")
            ranges.append((low, high))
        self._at += 1
        return _inverted(ranges) if negated else tuple(ranges)

    def _character(self) -> int:
        char = self._text[self._at]
        self._at += 1
        if char != "\\":
            return ord(char)
        kind = self._text[self._at : self._at + 1]
        self._at += 1
        if kind in _ESCAPES:
            return _ESCAPES[kind]
        size = _HEX.get(kind, 0)
        digits = self._text[self._at : self._at + size]
        if not size or not re.fullmatch(f"[0-9a-fA-F]{{{size}}}", digits):
            self._fail("an unknown escape")
        self._at += size
        code = int(digits, 16)
        if code > LAST_CHARACTER:
            self._fail("a character beyond Unicode")
        return code

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            self._fail("expected the name of a rule")
        self._at = match.end()
        return match[0]

    def _named(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = self._new([], name)
        return self._numbers[name]

    def _new(self, alternatives: list[Sequence], name: str = "(a group)") -> int:
        self._grammar.rules.append(alternatives)
        self._grammar.names.append(name)
        if len(self._grammar.rules) > MAX_ELEMENTS or len(self._numbers) >= MAX_RULES:
            raise BadGrammar(f"the grammar has more than {MAX_RULES} rules")
        return len(self._grammar.rules) - 1

    def _spend(self, elements: int) -> None:
        self._elements += elements
        if self._elements > MAX_ELEMENTS:
            raise BadGrammar(f"the grammar grows to more than {MAX_ELEMENTS} elements")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, *, lines: bool = False) -> None:
        match = (_SPACE_AND_LINES if lines else _SPACE).match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _fail(self, why: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        raise BadGrammar(f"line {line} of the grammar: {why}")


def _inverted(ranges: list[tuple[int, int]]) -> Ranges:
    out: list[tuple[int, int]] = []
    begin = 0
    for low, high in sorted(ranges):
        if low > begin:
            out.append((begin, low - 1))
        begin = max(begin, high + 1)
    if begin <= LAST_CHARACTER:
        out.append((begin, LAST_CHARACTER))
    return tuple(out)
