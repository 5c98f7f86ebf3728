"""Grammars: which are read, and which are refused before native code could hang or end on them."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.gbnf import MAX_CHARACTERS, BadGrammar, parse
from models.gbnf_check import check_grammar

JSON = r"""
# any JSON object
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9]+)? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
ARITHMETIC = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
GOOD = {
    "json": JSON,
    "arithmetic": ARITHMETIC,
    "one word": 'root ::= "yes" | "no"',
    "many words": "root ::= " + " | ".join(f'"word{number}"' for number in range(1500)),
    "lines": 'root ::= (\n  "a" |\n  "b" # why\n)+\n\n# end\n',
    "any": "root ::= .* ",
    "escapes": r'root ::= "\x41\u00e9\U0001F600\t\n\"\\" [\]\[^-]',
    "counts": 'root ::= "a"{3} "b"{2,} "c"{0,5} [d]{,}'.replace(" [d]{,}", ""),
    "no text": 'root ::= ""',
}
BAD = {
    "nothing": ("", "no rule named root"),
    "no root": ('a ::= "b"', "no rule named root"),
    "undefined": ("root ::= a", "not defined"),
    "twice": ('root ::= "a"\nroot ::= "b"', "defined twice"),
    "open text": ('root ::= "a', "closing quote"),
    "open set": ("root ::= [a", "closing bracket"),
    "open group": ('root ::= ("a"', "expected )"),
    "backwards": ("root ::= [z-a]", "wrong order"),
    "backwards count": ('root ::= "a"{5,2}', "in order"),
    "bad count": ('root ::= "a"{x}', "expected {m}"),
    "huge count": ('root ::= "a"{99999}', "at most"),
    "bad escape": (r'root ::= "\q"', "escape"),
    "short escape": (r'root ::= "\u12"', "escape"),
    "beyond Unicode": (r'root ::= "\UFFFFFFFF"', "Unicode"),
    "zero byte": ('root ::= "\0"', "zero byte"),
    "rest": ('root ::= "a" )', "end of the line"),
    "token": ("root ::= <[5]>", "not supported"),
    "stars": ('root ::= "a"*******', "too many repetitions"),
    "itself": ('root ::= root "a" | "b"', "begin with itself"),
    "round about": ('root ::= a\na ::= b? c\nb ::= "x"\nc ::= a "y"', "begin with itself"),
    "empty forever": ('root ::= ("a"*)*', "begin with itself"),
    "empty itself": ("root ::= root", "begin with itself"),
    "deep": ("root ::= " + "(" * 99 + '"a"' + ")" * 99, "nested deeper"),
    "very deep": ("root ::= " + "(" * 60_000, "nested deeper"),
    "long": ('root ::= "' + "a" * MAX_CHARACTERS + '"', "more than"),
    "grows": ('root ::= (("a"{999}){999}){999}', "too many ways"),
    "many": ("\n".join(f'r{number} ::= "a"' for number in range(6000)), "rules"),
    "wide": ("root ::= " + " ".join(f'"{number}"{{900}}' for number in range(99)), "grows"),
    "two ways in": ('root ::= "a" root "a" | "a" root "b" | "c"', "too many ways"),
    "two ways round": ('root ::= ("a" | "a")* "b"', "too many ways"),
    "two ways in words": ('root ::= ("ab" | "a" "b" | "c")+', "too many ways"),
    "spaces": ('root ::= (" "*){9} "b"', "ways|itself"),
    "empty parts": (
        "root ::= r0\n"
        + "\n".join(f"r{n} ::= r{n + 1} r{n + 1}" for n in range(30))
        + '\nr30 ::= "a"?',
        "too many ways",
    ),
    "hidden": ('root ::= "x" a "y"\na ::= "(" a ")" | "(" a "]" | "."', "too many ways"),
}


@pytest.mark.parametrize("name", GOOD)
def test_grammars_of_everyday_are_taken(name: str) -> None:
    check_grammar(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_others_are_refused_soon_and_with_a_reason(name: str) -> None:
    grammar, reason = BAD[name]
    began = time.process_time()
    with pytest.raises(BadGrammar, match=reason.replace("(", r"\(").replace(")", r"\)")):
        check_grammar(grammar)
    assert time.process_time() - began < 2


def test_the_line_of_a_mistake_is_told() -> None:
    with pytest.raises(BadGrammar, match="line 3"):
        parse('root ::= a\n\na ::= "b')


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='root:=ab"[]()|*+?{},0129 \n\\-^.', max_size=120))
def test_whatever_is_given_ends_soon(noise: str) -> None:
    began = time.process_time()
    for text in (noise, f"root ::= {noise}"):
        try:
            check_grammar(text)
        except BadGrammar:
            continue
    assert time.process_time() - began < 2
