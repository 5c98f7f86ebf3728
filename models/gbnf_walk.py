"""Walks through a grammar the way llama.cpp does, on the worst text that it can find.

The number of ways through the grammar for one text is what llama.cpp's work grows with. The walk
starts at the root and at every rule that can contain itself, and takes at each step the character
that most ways allow. It is a search, not a proof; what it misses ends as a worker that hangs and is
replaced.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from models.gbnf import BadGrammar, Grammar, Ranges, Sequence

MAX_WAYS = 5000
STEPS = 24  # about the longest token of one repeated character that matters
RUNS = 4  # from each start: equals are chosen between by chance
MAX_WORK = 400_000

_NO_PARENT = -1
_Node = tuple[int, int, int]  # the sequence, the place in it, and the node to go on with after it


def check_walks(grammar: Grammar) -> None:
    """Raises BadGrammar when the ways multiply, or there is too much to look at."""
    walker = _Walker(grammar)
    chance = Random(0)  # noqa: S311  a fixed choice, so that the same grammar gets the same answer
    reached = _reached(grammar)
    loops = [number for number in recursive_rules(grammar.rules) if number in reached]
    for start in dict.fromkeys([grammar.root, *loops]):
        for _ in range(RUNS):
            walker.walk(start, chance)


class _Walker:
    def __init__(self, grammar: Grammar) -> None:
        self._names = grammar.names
        self._sequences: list[Sequence] = []
        self._rules: list[list[int]] = []
        for rule in grammar.rules:
            first = len(self._sequences)
            self._sequences += rule
            self._rules.append(list(range(first, len(self._sequences))))
        self._nodes: list[_Node] = []
        self._numbers: dict[_Node, int] = {}
        self._work = 0

    def walk(self, start: int, chance: Random) -> None:
        """Follow one text from the beginning of a rule."""
        places = self._open([(sequence, 0, _NO_PARENT, 1) for sequence in self._rules[start]])
        for _ in range(STEPS):
            code = self._worst_character(places, chance)
            if code is None:
                return
            taken = [
                (sequence, at + 1, parent, ways)
                for (sequence, at, parent), ways in places.items()
                if _has(self._characters(sequence, at), code)
            ]
            places = self._open(taken)
            if sum(places.values()) > MAX_WAYS:
                raise BadGrammar(
                    f"a text can go through the rule {self._names[start]} in too many ways at once; "
                    "write what its alternatives have in common only once"
                )

    def _open(self, begun: list[tuple[int, int, int, int]]) -> Counter[_Node]:
        """All places before a character that can be reached from these, and in how many ways."""
        places: Counter[_Node] = Counter()
        while begun:
            self._work += 1
            if self._work > MAX_WORK or len(begun) > MAX_WAYS:
                raise BadGrammar("the grammar is too complicated to be checked")
            sequence, at, parent, ways = begun.pop()
            symbols = self._sequences[sequence]
            if at == len(symbols):
                if parent != _NO_PARENT:
                    begun.append((*self._nodes[parent], ways))
                continue
            symbol = symbols[at]
            if isinstance(symbol, int):
                after = (
                    parent if at + 1 == len(symbols) else self._number((sequence, at + 1, parent))
                )
                begun += [(each, 0, after, ways) for each in self._rules[symbol]]
            else:
                places[sequence, at, parent] += ways
        return places

    def _worst_character(self, places: Counter[_Node], chance: Random) -> int | None:
        """The character that most ways allow: the ends of ranges are enough to look at."""
        sets: Counter[Ranges] = Counter()
        for (sequence, at, _), ways in places.items():
            sets[self._characters(sequence, at)] += ways
        codes = sorted({low for ranges in sets for low, _ in ranges})
        if not codes:
            return None
        chance.shuffle(codes)
        self._work += min(len(codes), 64) * len(sets)
        return max(
            codes[:64],
            key=lambda code: sum(ways for ranges, ways in sets.items() if _has(ranges, code)),
        )

    def _characters(self, sequence: int, at: int) -> Ranges:
        symbol = self._sequences[sequence][at]
        return () if isinstance(symbol, int) else symbol

    def _number(self, node: _Node) -> int:
        if node not in self._numbers:
            self._numbers[node] = len(self._nodes)
            self._nodes.append(node)
        return self._numbers[node]


def _has(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _reached(grammar: Grammar) -> set[int]:
    """The rules that a text can come to at all."""
    reached, work = {grammar.root}, [grammar.root]
    while work:
        for sequence in grammar.rules[work.pop()]:
            new = {symbol for symbol in sequence if isinstance(symbol, int)} - reached
            reached |= new
            work += new
    return reached


def recursive_rules(rules: list[list[Sequence]]) -> list[int]:
    """The rules that can contain themselves (Tarjan's components, without recursion)."""
    uses = [
        sorted({each for sequence in rule for each in sequence if isinstance(each, int)})
        for rule in rules
    ]
    index, low, is_open = [-1] * len(rules), [0] * len(rules), [False] * len(rules)
    open_rules: list[int] = []
    found: list[int] = []
    count = 0
    for start in range(len(rules)):
        stack = [(start, 0)] if index[start] < 0 else []
        while stack:
            number, at = stack.pop()
            if at == 0:
                index[number] = low[number] = count
                count += 1
                open_rules.append(number)
                is_open[number] = True
            else:
                low[number] = min(low[number], low[uses[number][at - 1]])
            while at < len(uses[number]) and index[uses[number][at]] >= 0:
                if is_open[uses[number][at]]:
                    low[number] = min(low[number], index[uses[number][at]])
                at += 1
            if at < len(uses[number]):
                stack += [(number, at + 1), (uses[number][at], 0)]
            elif low[number] == index[number]:
                component = _close(open_rules, is_open, number)
                if len(component) > 1 or number in uses[number]:
                    found += component
    return sorted(found)


def _close(open_rules: list[int], is_open: list[bool], number: int) -> list[int]:
    component: list[int] = []
    while not component or component[-1] != number:
        component.append(open_rules.pop())
        is_open[component[-1]] = False
    return component
