"""From a JSON schema to a grammar whose every text is valid under the schema.

Where a schema leaves a choice the grammar may be narrower (properties in their order, none besides
the named ones), never wider. A keyword that cannot be kept is refused, not ignored.
"""

from __future__ import annotations

import json
import re
from typing import Any

from models.gbnf import MAX_CHARACTERS, MAX_REPEAT
from models.gbnf_check import check_grammar

MAX_SCHEMA_CHARACTERS = 64 * 1024
MAX_DEPTH = 32
_LONGEST_COUNT = 500  # a larger maximum is kept by staying below this one

_NOTES = frozenset(
    [
        "$schema",
        "$id",
        "$comment",
        "$anchor",
        "$defs",
        "definitions",
        "title",
        "description",
        "default",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "format",
        "name",
        "strict",
    ]
)
_KEPT = frozenset(
    [
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
    ]
)
_SPACE = r'(" " | "\n" [ \t]{0,20})?'
_HEX = "[0-9a-fA-F]"
_DAY = '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])'
_TIME = (
    '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? '
    '("Z" | [+-] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
)
_BASICS = {
    "ws": _SPACE,
    "char": rf'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" {_HEX}{{4}})',
    "string": r'"\"" char* "\""',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,14})',
    "number": 'integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "object": '"{" ws (member ("," ws member)* ws)? "}"',
    "member": 'string ":" ws value',
    "array": '"[" ws (value ("," ws value)* ws)? "]"',
    "value": "object | array | string | number | boolean | null",
    "date": rf'"\"" {_DAY} "\""',
    "time": rf'"\"" {_TIME} "\""',
    "date-time": rf'"\"" {_DAY} "T" {_TIME} "\""',
    "uuid": rf'"\"" {_HEX}{{8}} ("-" {_HEX}{{4}}){{3}} "-" {_HEX}{{12}} "\""',
}
_WORD = re.compile(r"[a-z][a-z-]*")
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_FORMATS = ("date", "time", "date-time", "uuid")


class BadSchema(ValueError):
    """The schema is wrong, or asks for something that cannot be kept; the text says what."""


def schema_grammar(text: str) -> str:
    """The grammar for a schema, checked. Raises BadSchema, or BadGrammar when it grows too large."""
    if len(text) > MAX_SCHEMA_CHARACTERS:
        raise BadSchema(f"the schema has more than {MAX_SCHEMA_CHARACTERS} characters")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"the schema is not valid JSON: {error}") from error
    if schema in ({}, True):
        schema = {"type": "object"}
    grammar = _Writer(schema).grammar()
    check_grammar(grammar)
    return grammar


class _Writer:
    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._rules: dict[str, str] = {}
        self._refs: dict[str, str] = {}
        self._size = 0

    def grammar(self) -> str:
        root = self._visit(self._schema, 0)
        lines = [f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._rules.items())]
        wanted, work = set[str](), _WORD.findall(" ".join(lines))
        while work:
            word = work.pop()
            if word in _BASICS and word not in wanted:
                wanted.add(word)
                work += _WORD.findall(_BASICS[word])
        lines += [f"{name} ::= {body}" for name, body in _BASICS.items() if name in wanted]
        return "\n".join(lines) + "\n"

    def _visit(self, schema: Any, depth: int) -> str:
        """The name of the rule for a schema."""
        if depth > MAX_DEPTH:
            raise BadSchema(f"the schema is nested deeper than {MAX_DEPTH}")
        if schema is True:
            return "value"
        if not isinstance(schema, dict):
            raise BadSchema(f"a schema must be an object, not {json.dumps(schema)[:60]}")
        lost = sorted(set(schema) - _KEPT - _NOTES)
        if lost:
            raise BadSchema(f"the schema uses {lost[0]!r}, which is not supported; leave it out")
        if "$ref" in schema:
            return self._ref(schema, depth)
        for word in ("anyOf", "oneOf", "allOf"):
            if word in schema:
                return self._combined(schema, word, depth)
        if "const" in schema:
            return self._choice([schema["const"]])
        if "enum" in schema:
            return self._choice(_list(schema["enum"], "enum"))
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> str:
        kind = schema.get("type", _guessed(schema))
        if isinstance(kind, list):
            each = [self._typed({**schema, "type": one}, depth) for one in kind]
            return self._rule(" | ".join(dict.fromkeys(each)))
        if kind is None:
            return "value"
        if kind not in _TYPES:
            raise BadSchema(f"there is no type {json.dumps(kind)[:60]}")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._string(schema)
        return str(kind)

    def _object(self, schema: dict[str, Any], depth: int) -> str:
        properties = schema.get("properties", {})
        required = _list(schema.get("required", []), "required", empty=True)
        other = schema.get("additionalProperties", True)
        if not isinstance(properties, dict):
            raise BadSchema("properties must be an object")
        missing = {name: other for name in required if name not in properties}
        if missing and other is False:
            raise BadSchema(f"{next(iter(missing))!r} is required but not allowed")
        members = [
            (self._member(name, inner, depth), name in required)
            for name, inner in {**properties, **missing}.items()
        ]
        if members:
            return self._rule(f'"{{" ws {self._members(members)} "}}"')
        if other is False:
            return self._rule('"{" ws "}"')
        if other is True:
            return "object"
        member = self._rule(f'string ":" ws {self._visit(other, depth + 1)}')
        return self._rule(f'"{{" ws ({member} ("," ws {member})* ws)? "}}"')

    def _member(self, name: object, schema: Any, depth: int) -> str:
        if not isinstance(name, str):
            raise BadSchema("the names in required must be texts")
        return self._rule(f'{_literal(json.dumps(name))} ":" ws {self._visit(schema, depth + 1)}')

    def _members(self, members: list[tuple[str, bool]]) -> str:
        """All required members and any of the others, in order, with commas between.

        `after`: what may follow once a member was written; `begin`: while none was."""
        after, begin = self._rule("ws"), self._rule('""')
        for member, required in reversed(members):
            begins = f"{member} {after}"
            follows = f'"," ws {member} {after}'
            begin = self._rule(begins if required else f"{begins} | {begin}")
            after = self._rule(follows if required else f"{follows} | {after}")
        return begin

    def _array(self, schema: dict[str, Any], depth: int) -> str:
        first = [
            self._visit(one, depth + 1)
            for one in _list(schema.get("prefixItems", []), "prefixItems", empty=True)
        ]
        least, most = _bounds(schema, "minItems", "maxItems")
        items = schema.get("items", not first)
        if items is False or (most is not None and most <= len(first)):
            if least > len(first) or (most is not None and most < len(first)):
                raise BadSchema("minItems and maxItems do not fit to prefixItems")
            return self._rule(f'"[" ws {_separated(first)} ws "]"' if first else '"[" ws "]"')
        rest = self._visit(items, depth + 1)
        if first:
            low, high = max(least - len(first), 0), None if most is None else most - len(first)
            more = f'("," ws {rest}){_times(low, high)}'
            return self._rule(f'"[" ws {_separated(first)} {more} ws "]"')
        if most == 0:
            return self._rule('"[" ws "]"')
        some = f'{rest} ("," ws {rest}){_times(max(least - 1, 0), most and most - 1)} ws'
        return self._rule(f'"[" ws {some if least else f"({some})?"} "]"')

    def _string(self, schema: dict[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            return str(schema["format"])
        least, most = _bounds(schema, "minLength", "maxLength")
        if not least and most is None:
            return "string"
        return self._rule(rf'"\"" char{_times(least, most)} "\""')

    def _choice(self, values: list[Any]) -> str:
        texts = [json.dumps(value, ensure_ascii=False) for value in values]
        return self._rule(" | ".join(map(_literal, dict.fromkeys(texts))))

    def _combined(self, schema: dict[str, Any], word: str, depth: int) -> str:
        beside = {key: value for key, value in schema.items() if key != word and key in _KEPT}
        parts = _list(schema[word], word)
        if word == "allOf":
            return self._visit(_merged([beside, *parts]), depth + 1)
        return self._rule(
            " | ".join(
                dict.fromkeys(
                    self._visit(_merged([beside, part]) if beside else part, depth + 1)
                    for part in parts
                )
            )
        )

    def _ref(self, schema: dict[str, Any], depth: int) -> str:
        pointer = schema["$ref"]
        if any(key in _KEPT for key in schema if key != "$ref"):
            raise BadSchema("nothing but descriptions may stand beside $ref")
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise BadSchema("$ref may only point into the same schema (#/...)")
        if pointer not in self._refs:
            self._refs[pointer] = name = self._rule("")
            self._rules[name] = self._visit(self._target(pointer), depth + 1)
        return self._refs[pointer]

    def _target(self, pointer: str) -> Any:
        target = self._schema
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or key not in target:
                raise BadSchema(f"$ref points to {pointer[:80]!r}, which is not there")
            target = target[key]
        return target

    def _rule(self, body: str) -> str:
        self._size += len(body) + 8
        if self._size > MAX_CHARACTERS:
            raise BadSchema("the schema is too large")
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name


def _guessed(schema: dict[str, Any]) -> str | None:
    """The type that a schema without one must mean."""
    if {"properties", "required", "additionalProperties"} & set(schema):
        return "object"
    if {"items", "prefixItems", "minItems", "maxItems"} & set(schema):
        return "array"
    return "string" if {"minLength", "maxLength"} & set(schema) else None


def _list(value: Any, word: str, *, empty: bool = False) -> list[Any]:
    if not isinstance(value, list) or not (value or empty):
        raise BadSchema(f"{word} must be a list" + ("" if empty else " that is not empty"))
    return value


def _bounds(schema: dict[str, Any], low: str, high: str) -> tuple[int, int | None]:
    least, most = schema.get(low, 0), schema.get(high)
    for value in (least, most):
        if value is not None and (type(value) is not int or value < 0):
            raise BadSchema(f"{low} and {high} must be whole numbers from 0")
    if least > MAX_REPEAT or (most is not None and most < least):
        raise BadSchema(f"{low} must be at most {high} and {MAX_REPEAT}")
    return least, most if most is None else min(most, max(least, _LONGEST_COUNT))


def _times(low: int, high: int | None) -> str:
    if high is None:
        return "*" if low == 0 else f"{{{low},}}"
    return f"{{{low},{high}}}"


def _separated(names: list[str]) -> str:
    return ' "," ws '.join(names)


def _merged(parts: list[Any]) -> dict[str, Any]:
    """One object schema that means all of these."""
    out: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, dict):
            raise BadSchema("allOf must hold schemas")
        for key, value in part.items():
            if key not in out or out[key] == value or key in _NOTES:
                out[key] = value
            elif key == "properties" and not set(out[key]) & set(value):
                out[key] = {**out[key], **value}
            elif key == "required":
                out[key] = [*out[key], *value]
            else:
                raise BadSchema(f"two values of {key!r} cannot be combined")
    return out


def _literal(text: str) -> str:
    """A text as GBNF writes it."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable() and ord(char) < 0x10000:
        return char
    return f"\\U{ord(char):08X}"
