import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.owner import OwnerError
from node.owner.words import from_words, to_words

ENTROPY = bytes(range(32))
#: 32 zero bytes: the list's first word 23 times, and the word that carries their check.
ZEROS = "abandon " * 23 + "art"


def refused(text: str) -> str:
    with pytest.raises(OwnerError) as caught:
        from_words(text)
    assert caught.value.code == "bad_words"
    return str(caught.value)


def test_32_zero_bytes_are_the_published_words() -> None:
    assert to_words(bytes(32)) == ZEROS


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_words_give_back_the_secret(entropy: bytes) -> None:
    assert from_words(to_words(entropy)) == entropy


def test_case_and_spacing_do_not_matter() -> None:
    text = to_words(ENTROPY)
    assert from_words("\n " + text.upper().replace(" ", " \t\n") + "  ") == ENTROPY


def test_an_unknown_word_is_named_by_its_place_with_a_guess() -> None:
    words = to_words(ENTROPY).split()
    words[4] = "abandn"
    told = refused(" ".join(words))
    assert "word 5 ('abandn')" in told
    assert "abandon" in told


def test_two_exchanged_words_fail_their_check() -> None:
    words = to_words(ENTROPY).split()
    words[0], words[1] = words[1], words[0]
    told = refused(" ".join(words))
    assert "check" in told
    assert not any(word in told.split() for word in set(words) - {"or", "with", "word", "two"})


@pytest.mark.parametrize("count", [0, 12, 23, 25])
def test_any_other_number_of_words_is_refused(count: int) -> None:
    told = refused(" ".join(["abandon"] * count))
    assert f"got {count}" in told


def test_a_huge_text_is_refused_before_it_is_read() -> None:
    assert "too long" in refused("abandon " * 100_000)


def test_a_secret_of_another_size_has_no_words() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        to_words(bytes(16))
