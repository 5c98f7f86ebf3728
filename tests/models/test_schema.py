"""JSON schemas become grammars: every text of the grammar is JSON that the schema allows."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from models.gbnf import BadGrammar, Grammar, Sequence, parse
from models.schema import BadSchema, schema_grammar


def grammar_of(schema: object) -> Grammar:
    return parse(schema_grammar(json.dumps(schema)))


def some_text(grammar: Grammar, chance: random.Random) -> str:
    """A text of the grammar, walked by chance; deep walks take the shortest way out."""
    out: list[str] = []
    stack: list[Any] = [grammar.root]
    while stack:
        symbol = stack.pop()
        if isinstance(symbol, int):
            ways = grammar.rules[symbol]
            way: Sequence = min(ways, key=len) if len(out) > 400 else chance.choice(ways)
            stack += reversed(way)
        else:
            low, high = chance.choice(symbol)
            out.append(chr(chance.randint(low, min(high, low + 60))))
    return "".join(out)


Check = Callable[[Any], bool]
NODE = {
    "type": "object",
    "properties": {
        "v": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]},
    },
    "required": ["v", "next"],
}
PERSON = {
    "title": "Person",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": ["integer", "null"]},
        'odd "key"\n': {"const": {"a": [1, 2.5, None]}},
    },
    "required": ["age"],
}
CASES: dict[str, tuple[object, Check]] = {
    "any object": ({}, lambda v: isinstance(v, dict)),
    "true": (True, lambda v: isinstance(v, dict)),
    "string": ({"type": "string"}, lambda v: isinstance(v, str)),
    "integer": ({"type": "integer"}, lambda v: type(v) is int),
    "number": ({"type": "number"}, lambda v: isinstance(v, int | float)),
    "boolean": ({"type": "boolean"}, lambda v: isinstance(v, bool)),
    "null": ({"type": "null"}, lambda v: v is None),
    "enum": (
        {"enum": ["a", 1, None, "é\n", {"b": []}]},
        lambda v: v in ["a", 1, None, "é\n", {"b": []}],
    ),
    "lengths": ({"minLength": 2, "maxLength": 4}, lambda v: 2 <= len(v) <= 4),
    "far maximum": ({"type": "string", "maxLength": 10**6}, lambda v: isinstance(v, str)),
    "list": ({"items": {"type": "null"}}, lambda v: all(each is None for each in v)),
    "counted list": (
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
        lambda v: 2 <= len(v) <= 3,
    ),
    "empty list": ({"type": "array", "maxItems": 0}, lambda v: v == []),
    "tuple": (
        {"prefixItems": [{"type": "null"}, {"type": "boolean"}], "items": False},
        lambda v: v[0] is None and isinstance(v[1], bool) and len(v) == 2,
    ),
    "tuple and more": (
        {"prefixItems": [{"type": "null"}], "items": {"const": 1}, "minItems": 3},
        lambda v: v[0] is None and set(v[1:]) == {1} and len(v) >= 3,
    ),
    "map": (
        {"type": "object", "additionalProperties": {"type": "boolean"}},
        lambda v: all(isinstance(each, bool) for each in v.values()),
    ),
    "nothing in it": ({"type": "object", "additionalProperties": False}, lambda v: v == {}),
    "person": (
        PERSON,
        lambda v: (
            {"age"} <= set(v) <= {"name", "age", 'odd "key"\n'} and len(v.get("name", "x")) <= 5
        ),
    ),
    "required only": ({"required": ["a", "b"]}, lambda v: set(v) == {"a", "b"}),
    "union": (
        {"oneOf": [{"type": "null"}, {"type": "array"}]},
        lambda v: v is None or v == list(v),
    ),
    "both": (
        {"allOf": [{"properties": {"a": {"const": 1}}}, {"required": ["a"]}], "type": "object"},
        lambda v: v == {"a": 1},
    ),
    "recursive": ({"$ref": "#/$defs/n", "$defs": {"n": NODE}}, lambda v: type(v["v"]) is int),
    "date": ({"type": "string", "format": "date"}, lambda v: v[4] == v[7] == "-"),
    "moment": ({"type": "string", "format": "date-time"}, lambda v: v[10] == "T"),
    "time": ({"type": "string", "format": "time"}, lambda v: v[2] == ":"),
    "uuid": ({"type": "string", "format": "uuid"}, lambda v: len(v) == 36),
    "other format": ({"type": "string", "format": "email"}, lambda v: isinstance(v, str)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_text_is_json_that_the_schema_allows(name: str) -> None:
    schema, allowed = CASES[name]
    grammar, chance = grammar_of(schema), random.Random(name)
    seen = set()
    for _ in range(60):
        text = some_text(grammar, chance)
        value = json.loads(text)
        assert allowed(value), text
        seen.add(text)
    assert seen


def test_optional_members_come_and_go() -> None:
    schema = {"properties": {name: {"const": 1} for name in "abc"}}
    grammar, chance = grammar_of(schema), random.Random(1)
    found = {tuple(json.loads(some_text(grammar, chance))) for _ in range(300)}
    assert found == {(), *map(tuple, ("a", "b", "c", "ab", "ac", "bc", "abc"))}


BAD: dict[str, tuple[object, str]] = {
    "false": (False, "must be an object"),
    "number": (3, "must be an object"),
    "pattern": ({"type": "string", "pattern": "^a+$"}, "'pattern'"),
    "minimum": ({"type": "integer", "minimum": 3}, "'minimum'"),
    "negation": ({"not": {}}, "'not'"),
    "unknown type": ({"type": "banana"}, "no type"),
    "strange type": ({"type": 3}, "no type"),
    "empty enum": ({"enum": []}, "enum"),
    "empty anyOf": ({"anyOf": []}, "anyOf"),
    "remote": ({"$ref": "https://example.org/x"}, "same schema"),
    "nowhere": ({"$ref": "#/$defs/x"}, "not there"),
    "beside a ref": ({"$ref": "#/$defs/x", "type": "null"}, "beside"),
    "not allowed": ({"required": ["a"], "additionalProperties": False}, "not allowed"),
    "wrong order": ({"minItems": 3, "maxItems": 1}, "at most"),
    "negative": ({"minLength": -1}, "whole numbers"),
    "not a number": ({"maxLength": True}, "whole numbers"),
    "huge": ({"type": "string", "minLength": 10**9}, "at most"),
    "properties": ({"properties": []}, "properties"),
    "required": ({"required": [1]}, "texts"),
    "conflict": ({"allOf": [{"type": "null"}, {"type": "array"}]}, "cannot be combined"),
    "itself": ({"$ref": "#"}, "begin with itself"),
    "round": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "itself",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_kept_is_refused(name: str) -> None:
    schema, reason = BAD[name]
    with pytest.raises((BadSchema, BadGrammar), match=reason):
        schema_grammar(json.dumps(schema))


def deep(levels: int) -> object:
    schema: object = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def doubling(levels: int) -> object:
    """Each definition uses the next one twice."""
    defs: dict[str, object] = {
        f"d{n}": {
            "anyOf": [
                {"$ref": f"#/$defs/d{n + 1}"},
                {"type": "array", "items": {"$ref": f"#/$defs/d{n + 1}"}},
            ]
        }
        for n in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{levels}": {"type": "null"}}}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        "{" * 10,
        "",
        "nonsense",
        json.dumps({"enum": ["x" * 70_000]}),
        json.dumps(deep(100)),
        json.dumps(doubling(40)),
        json.dumps({"enum": [f"{n}" for n in range(6000)]}),
        json.dumps({"type": ["string"] * 3000 + ["banana"]}),
        '{"anyOf": [' + ",".join(['{"minLength": 400, "maxLength": 500}'] * 900) + "]}",
    ],
    ids=range(10),
)
def test_hostile_schemas_end_soon(text: str) -> None:
    began = time.process_time()
    with pytest.raises((BadSchema, BadGrammar)):
        schema_grammar(text)
    assert time.process_time() - began < 2


def test_a_large_honest_schema_is_taken() -> None:
    schema = {"properties": {f"field_{n}": {"type": "string"} for n in range(200)}}
    began = time.process_time()
    schema_grammar(json.dumps(schema))
    assert time.process_time() - began < 2
