"""Who has to leave the memory, and who may not."""

from node.serving.residency import (
    MachineMemory,
    Resident,
    budget,
    idle_first,
    make_room,
    outstayed,
    relieve,
    reserve,
)
from protocols.limits import GIB

PLENTY = MachineMemory(64 * GIB, 60 * GIB)


def resident(key: str, size: int, used_at: float, *, idle: bool = True) -> Resident:
    return Resident(key, size, idle, used_at)


def test_nobody_leaves_while_there_is_room() -> None:
    room = make_room(3 * GIB, [resident("a", GIB, 1.0)], PLENTY, 4 * GIB)
    assert room.fits
    assert room.unload == ()


def test_the_least_recently_used_idle_models_leave_first_and_no_more_than_needed() -> None:
    loaded = [
        resident("newest", GIB, 9.0),
        resident("oldest", GIB, 1.0),
        resident("busy", GIB, 0.0, idle=False),
        resident("middle", GIB, 5.0),
    ]
    assert make_room(GIB, loaded, PLENTY, 4 * GIB).unload == ("oldest",)
    assert make_room(2 * GIB, loaded, PLENTY, 4 * GIB).unload == ("oldest", "middle")
    assert make_room(3 * GIB, loaded, PLENTY, 4 * GIB).unload == ("oldest", "middle", "newest")


def test_what_cannot_fit_unloads_nothing_and_says_how_much_is_missing() -> None:
    loaded = [resident("idle", GIB, 1.0), resident("busy", GIB, 0.0, idle=False)]
    room = make_room(4 * GIB, loaded, PLENTY, 4 * GIB)
    assert not room.fits
    assert room.unload == ()
    assert room.short == GIB
    assert room.waiting_may_help
    assert not make_room(5 * GIB, loaded, PLENTY, 4 * GIB).waiting_may_help


def test_the_machines_free_memory_counts_as_much_as_the_budget() -> None:
    little = MachineMemory(64 * GIB, reserve(64 * GIB) + GIB)
    assert make_room(GIB, [], little, 48 * GIB).fits
    assert make_room(GIB + 1, [], little, 48 * GIB).short == 1
    assert make_room(2 * GIB, [resident("a", GIB, 0.0)], little, 48 * GIB).unload == ("a",)


def test_a_machine_that_does_not_tell_its_memory_is_not_held_against_a_model() -> None:
    assert make_room(GIB, [], MachineMemory(0, 0), budget(0, 0)).fits
    assert relieve([resident("a", GIB, 0.0)], MachineMemory(0, 0)) == ()


def test_pressure_unloads_idle_models_until_the_reserve_is_free_again() -> None:
    loaded = [resident("b", GIB, 2.0), resident("a", GIB, 1.0), resident("c", GIB, 0, idle=False)]
    tight = MachineMemory(64 * GIB, reserve(64 * GIB) - GIB // 2)
    assert relieve(loaded, tight) == ("a",)
    assert relieve(loaded, MachineMemory(64 * GIB, 0)) == ("a",)
    assert relieve(loaded, PLENTY) == ()
    assert [each.key for each in idle_first(loaded)] == ["a", "b"]


def test_models_that_nobody_used_for_long_leave_unless_the_setting_is_zero() -> None:
    loaded = [resident("old", GIB, 0.0), resident("new", GIB, 50.0)]
    assert outstayed(loaded, 100.0, 60.0) == ("old",)
    assert outstayed(loaded, 1e9, 0) == ()


def test_the_budget_is_the_setting_or_three_quarters_of_the_machine() -> None:
    assert budget(0, 16 * GIB) == 12 * GIB
    assert budget(GIB, 16 * GIB) == GIB
