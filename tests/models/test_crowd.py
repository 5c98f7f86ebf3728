"""Threads for a step, from what other programs leave free."""

from __future__ import annotations

import pytest

from models.runtime import crowd
from models.runtime.crowd import Crowd, Look


class Machine:
    """Cores of which others use some; each look is one second after the one before."""

    def __init__(self, cores: int) -> None:
        self.cores, self.others, self.own = cores, 0.0, 0.0
        self.now = self.idle = self.used = 0.0

    def look(self) -> Look:
        self.now += 1
        self.used += self.own
        self.idle += max(0.0, self.cores - self.others - self.own)
        return Look(self.now, self.idle, self.used)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(crowd, "LOOK_EVERY_S", 0.0)
    return Machine(4)


def after(each: Crowd) -> int:
    each.adapt()
    return each.threads


def test_a_quiet_machine_computes_with_all_threads(machine: Machine) -> None:
    found = Crowd(4, machine.look)
    machine.own = 3.9
    assert after(found) == 4
    assert not found.adapt(), "nothing changed"


def test_a_thread_is_left_to_each_busy_neighbour(machine: Machine) -> None:
    found = Crowd(4, machine.look)
    machine.own, machine.others = 2.7, 1.3
    assert found.adapt()
    assert found.threads == 3
    machine.others, machine.own = 2.9, 1.1
    assert after(found) == 1
    machine.others = 0.1
    assert after(found) == 4, "they are taken back when the neighbours are gone"


def test_one_thread_is_always_left(machine: Machine) -> None:
    found = Crowd(4, machine.look)
    machine.own, machine.others = 0.1, 3.9
    assert after(found) == 1


def test_where_the_system_tells_nothing_all_threads_are_used() -> None:
    found = Crowd(4, lambda: None)
    assert not found.adapt()
    assert found.threads == 4


def test_a_real_look_tells_more_each_time() -> None:
    one = crowd.look()
    if one is None:
        pytest.skip("no /proc/stat here")
    sum(range(300_000))
    other = crowd.look()
    assert other is not None
    assert other.now > one.now
    assert other.own > one.own
    assert other.idle >= one.idle
