"""Refuses grammars that would hang or end the process that runs them.

llama.cpp follows every way through a grammar at once. Three things make that explode, and each is
refused here before native code sees the grammar: rules that begin with themselves; too many ways to
the next character (most lead over parts that may be empty); and ways that multiply with every
character, which `gbnf_walk` looks for.
"""

from __future__ import annotations

from models.gbnf import BadGrammar, Grammar, Symbol, parse
from models.gbnf_walk import check_walks

MAX_WAYS = 4000


def check_grammar(text: str) -> None:
    """Raises BadGrammar. Takes well under a second for whatever it is given."""
    grammar = parse(text)
    _Analysis(grammar).check()
    check_walks(grammar)


class _Analysis:
    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._rules = grammar.rules
        self._nullable = self._find_nullable()

    def check(self) -> None:
        self._count_ways(self._left_order())

    def _find_nullable(self) -> list[bool]:
        """Which rules can be empty, by repeating until nothing changes, through who uses whom."""
        nullable = [False] * len(self._rules)
        users: list[list[int]] = [[] for _ in self._rules]
        for number, rule in enumerate(self._rules):
            for symbol in {each for sequence in rule for each in sequence if isinstance(each, int)}:
                users[symbol].append(number)
        work = list(range(len(self._rules)))
        while work:
            number = work.pop()
            if not nullable[number] and any(
                all(isinstance(each, int) and nullable[each] for each in sequence)
                for sequence in self._rules[number]
            ):
                nullable[number] = True
                work += users[number]
        return nullable

    def _empty(self, symbol: Symbol) -> bool:
        return isinstance(symbol, int) and self._nullable[symbol]

    def _left(self, number: int) -> list[int]:
        """The rules that this one can begin with."""
        found = []
        for sequence in self._rules[number]:
            for symbol in sequence:
                if isinstance(symbol, int):
                    found.append(symbol)
                if not self._empty(symbol):
                    break
        return found

    def _left_order(self) -> list[int]:
        """All rules, each after those it can begin with."""
        state = [0] * len(self._rules)  # 1: being visited, 2: done
        order: list[int] = []
        for start in range(len(self._rules)):
            stack = [] if state[start] else [(start, iter(self._left(start)))]
            state[start] = state[start] or 1
            while stack:
                number, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    state[number] = 2
                    order.append(number)
                    stack.pop()
                elif state[following] == 1:
                    raise BadGrammar(
                        f"the rule {self._name(following)} can begin with itself "
                        "(or repeats something that may be empty)"
                    )
                elif state[following] == 0:
                    state[following] = 1
                    stack.append((following, iter(self._left(following))))
        return order

    def _count_ways(self, order: list[int]) -> None:
        """Bound the ways from any place in a rule to the next character."""
        ways, empties = [0] * len(self._rules), [0] * len(self._rules)
        for number in order:
            for sequence in self._rules[number]:
                to_character, to_end = 0, 1
                for symbol in reversed(sequence):
                    if not isinstance(symbol, int):
                        to_character, to_end = 1, 0
                        continue
                    to_character = ways[symbol] + empties[symbol] * to_character
                    to_end *= empties[symbol]
                    if to_character + to_end > MAX_WAYS:
                        raise BadGrammar(
                            f"the rule {self._name(number)} can begin in too many ways"
                        )
                ways[number] += to_character
                empties[number] += to_end
            if ways[number] + empties[number] > MAX_WAYS:
                raise BadGrammar(f"the rule {self._name(number)} can begin in too many ways")

    def _name(self, number: int) -> str:
        return self._grammar.names[number]
