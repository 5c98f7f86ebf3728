from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import Malformed
from protocols.labels import DEVICE, FLEET, PUBLIC, Label, allows, mesh, strictest

labels = st.sampled_from([DEVICE, FLEET, PUBLIC, mesh("home"), mesh("work"), mesh("club-7")])
ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True)


@pytest.mark.parametrize("text", ["device", "fleet", "public", "mesh:home", "mesh:7-a"])
def test_a_label_is_written_as_it_was_read(text: str) -> None:
    assert str(Label.parse(text)) == text


@given(ids)
def test_every_mesh_id_makes_a_label(mesh_id: str) -> None:
    assert Label.parse(str(mesh(mesh_id))) == mesh(mesh_id)


@pytest.mark.parametrize(
    "text",
    ["", "Device", "mesh", "mesh:", "mesh:A", "mesh:-a", "mesh:a b", "mesh:a\n", "mesh:\u0661",
     "mesh:" + "a" * 65, "fleet ", "public:x", "secret", "mesh:a:b"],
)  # fmt: skip
def test_other_texts_are_no_labels(text: str) -> None:
    with pytest.raises(Malformed):
        Label.parse(text)


@pytest.mark.parametrize("parts", [("device", "x"), ("mesh", ""), ("mesh", "A"), ("galaxy", "")])
def test_a_label_cannot_be_built_wrong(parts: tuple[str, str]) -> None:
    with pytest.raises(Malformed):
        Label(*parts)  # type: ignore[arg-type]


def test_the_order_is_device_fleet_mesh_public() -> None:
    assert DEVICE < FLEET < mesh("home") < PUBLIC
    assert PUBLIC > mesh("home") >= mesh("home") > FLEET > DEVICE


def test_two_meshes_do_not_compare() -> None:
    home, work = mesh("home"), mesh("work")
    assert not home <= work
    assert not work <= home
    assert not home < home


def test_two_different_meshes_meet_at_the_fleet() -> None:
    assert strictest([mesh("home"), mesh("work")]) == FLEET
    assert strictest([mesh("home"), PUBLIC, mesh("home")]) == mesh("home")


def test_forgetting_every_parent_is_an_error_and_not_public() -> None:
    with pytest.raises(ValueError, match="no labels"):
        strictest([])


def test_a_ceiling_lets_through_what_reaches_no_further() -> None:
    assert allows(DEVICE, FLEET)
    assert allows(mesh("home"), mesh("home"))
    assert not allows(mesh("home"), mesh("work"))
    assert not allows(mesh("home"), FLEET)
    assert not allows(PUBLIC, mesh("home"))


@given(labels, labels)
def test_meeting_is_commutative(a: Label, b: Label) -> None:
    assert strictest([a, b]) == strictest([b, a])


@given(labels, labels, labels)
def test_meeting_is_associative(a: Label, b: Label, c: Label) -> None:
    one = strictest([strictest([a, b]), c])
    assert one == strictest([a, strictest([b, c])]) == strictest([a, b, c])


@given(labels)
def test_meeting_is_idempotent(a: Label) -> None:
    assert strictest([a, a]) == strictest([a]) == a


@given(labels, labels, labels)
def test_meeting_is_monotone(a: Label, b: Label, c: Label) -> None:
    if a <= b:
        assert strictest([a, c]) <= strictest([b, c])


@given(labels, labels)
def test_the_meet_is_the_widest_label_below_both(a: Label, b: Label) -> None:
    both = strictest([a, b])
    assert both <= a
    assert both <= b
    for other in (DEVICE, FLEET, PUBLIC, mesh("home"), mesh("work"), mesh("club-7")):
        if other <= a and other <= b:
            assert other <= both


@given(labels, labels)
def test_comparing_and_meeting_agree(a: Label, b: Label) -> None:
    assert (a <= b) == (strictest([a, b]) == a) == allows(a, b) == (b >= a)
    assert (a < b) == (a <= b and a != b)


@given(labels, labels, labels)
def test_the_order_is_a_partial_order(a: Label, b: Label, c: Label) -> None:
    assert a <= a
    if a <= b and b <= c:
        assert a <= c
    if a <= b and b <= a:
        assert a == b
