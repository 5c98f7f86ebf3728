"""Names of models."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.content import names
from protocols.limits import NAME_CHARS


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-4B-Instruct-Q4_K_M.gguf", "qwen3-4b-instruct-q4_k_m"),
        ("big-00002-of-00003.gguf", "big"),
        ("Mein Modell (neu).GGUF", "mein-modell-neu"),
        ("../../etc/passwd", "etc-passwd"),
        ("日本語.gguf", "model"),
        ("---.gguf", "model"),
        ("", "model"),
    ],
)
def test_a_file_name_becomes_a_plain_name(file: str, name: str) -> None:
    assert names.clean(file) == name


@given(st.text(max_size=300))
@settings(max_examples=100)
def test_whatever_the_file_is_called_its_name_can_be_chosen_too(text: str) -> None:
    name = names.unused(names.clean(text), {names.clean(text)})
    assert names.checked(name) == name
    assert len(name) <= NAME_CHARS


def test_the_nearest_names_are_those_spelt_alike_or_inside() -> None:
    known = ["qwen3-4b", "qwen3-8b", "llama-3.2-1b", "starter"]
    assert names.nearest("qwen3-4", known)[0] == "qwen3-4b"
    assert names.nearest("lama-3.2-1b", known) == ["llama-3.2-1b"]
    assert set(names.nearest("qwen", known)) == {"qwen3-4b", "qwen3-8b"}
    assert names.nearest("zzz", known) == []
