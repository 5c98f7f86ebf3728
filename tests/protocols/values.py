"""What the tests of the codecs share: strategies for values, and mutations of bytes."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import strategies as st

MAX = 1 << 20

nfc_text = st.text(max_size=20).map(lambda text: unicodedata.normalize("NFC", text))


def values(*, floats: bool) -> st.SearchStrategy[Any]:
    """Any value that the strict profile carries."""
    text = st.text(max_size=20) if floats else nfc_text
    leaves: st.SearchStrategy[Any] = (
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | text | st.binary(max_size=40)
    )
    if floats:
        leaves |= st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(nfc_text, inner, max_size=5),
        max_leaves=20,
    )


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """One of the samples with a few bytes changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        action = draw(st.sampled_from(("change", "cut", "insert", "end")))
        if action == "change" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif action == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        elif action == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        else:
            del data[at:]
    return bytes(data)
