"""What can be pulled, and what is refused with which reason."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.content.errors import BadRef
from node.content.refs import is_loopback, parse_ref

HUB = "https://hub.example"


def urls(ref: str) -> list[str]:
    return [file.url for file in parse_ref(ref, HUB).files]


@pytest.mark.parametrize(
    ("ref", "url"),
    [
        ("hf:ann/tiny/tiny.gguf", f"{HUB}/ann/tiny/resolve/main/tiny.gguf"),
        ("ann/tiny/tiny.gguf", f"{HUB}/ann/tiny/resolve/main/tiny.gguf"),
        ("hf:ann/tiny/q8/tiny b.gguf@v1.0", f"{HUB}/ann/tiny/resolve/v1.0/q8/tiny%20b.gguf"),
        ("hf:ann/tiny/t.gguf@refs/pr/3", f"{HUB}/ann/tiny/resolve/refs%2Fpr%2F3/t.gguf"),
        (f"{HUB}/ann/tiny/blob/main/t.gguf", f"{HUB}/ann/tiny/resolve/main/t.gguf"),
        (
            f"{HUB}/ann/tiny/resolve/main/t.gguf?download=true",
            f"{HUB}/ann/tiny/resolve/main/t.gguf",
        ),
        ("https://else.example/x/t.gguf?key=1", "https://else.example/x/t.gguf?key=1"),
        ("http://127.0.0.1:80/t.gguf", "http://127.0.0.1:80/t.gguf"),
    ],
)
def test_a_reference_becomes_the_address_of_its_file(ref: str, url: str) -> None:
    assert urls(ref) == [url]


@pytest.mark.parametrize("part", [1, 2, 3])
def test_any_part_of_a_split_model_stands_for_all_parts(part: int) -> None:
    found = parse_ref(f"hf:ann/big/big-0000{part}-of-00003.gguf", HUB)
    assert [file.name for file in found.files] == [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert found.files[2].url == f"{HUB}/ann/big/resolve/main/big-00003-of-00003.gguf"


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ("", "not a reference"),
        ("a\nb", "not a reference"),
        ("ftp://x.example/t.gguf", "only http and https"),
        ("file:///etc/t.gguf", "only http and https"),
        ("javascript:alert", "not a kind of reference"),
        ("ollama:llama3", "not a kind of reference"),
        ("https://ann:secret@x.example/t.gguf", "user name or a password"),
        ("https:///t.gguf", "no host"),
        ("https://x.example:99999/t.gguf", "cannot be read"),
        ("https://x.example/", "not the name of a model file"),
        ("https://x.example/pytorch_model.bin", "pickle"),
        ("hf:ann/tiny/weights.pt", "pickle"),
        ("hf:ann/tiny/model.safetensors", "converted"),
        ("hf:ann/tiny/onnx/model.onnx", "node models add FOLDER"),
        ("hf:ann/tiny", "does not name a file"),
        ("hf:ann/../x/t.gguf", "not the name of an owner"),
        ("hf:ann/tiny/../t.gguf", "not a path"),
        ("hf:ann/tiny/t.gguf@../x", "not a revision"),
        ("./t.gguf", "node models add"),
        ("/t.gguf", "node models add"),
        ("hf:ann/big/big-00004-of-00003.gguf", "part 4 of 3"),
        ("hf:ann/big/big-00001-of-90000.gguf", "part 1 of 90000"),
        ("https://x.example/big-00001-of-00002.gguf?key=1", "with a query"),
    ],
)
def test_anything_else_is_refused_with_its_reason(ref: str, why: str) -> None:
    with pytest.raises(BadRef, match=why):
        parse_ref(ref, HUB)


def test_a_query_may_be_a_secret_and_is_not_shown() -> None:
    assert "key" not in parse_ref("https://x.example/t.gguf?key=1", HUB).text


def test_only_this_machine_is_loopback() -> None:
    assert all(
        map(is_loopback, ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
    )
    assert not any(
        map(is_loopback, ["", "example.com", "10.0.0.1", "127.0.0.1.example.com", "0.0.0.0"])
    )


@given(st.text(max_size=80))
@settings(max_examples=200)
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    for ref in (text, f"hf:{text}", f"https://{text}"):
        with contextlib.suppress(BadRef):
            parse_ref(ref, HUB)
