"""Places are given in order, and never lost."""

import trio
from trio.testing import wait_all_tasks_blocked

from node.serving.turns import Turns


async def test_places_are_given_first_come_first_served() -> None:
    turns, order = Turns(1), []

    async def one(name: str) -> None:
        turn = await turns.take()
        order.append(name)
        turn.done()

    first = await turns.take()
    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(one, name)
            await wait_all_tasks_blocked()
        assert turns.waiting == 3
        first.done()
    assert order == ["a", "b", "c"]


async def test_one_who_wants_to_be_alone_waits_for_all_places_and_is_not_overtaken() -> None:
    turns, order = Turns(2), []

    async def one(name: str, alone: bool) -> None:
        turn = await turns.take(alone=alone)
        order.append(name)
        turn.done()

    first, second = await turns.take(), await turns.take()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "alone", True)
        await wait_all_tasks_blocked()
        nursery.start_soon(one, "small", False)
        await wait_all_tasks_blocked()
        first.done()
        await wait_all_tasks_blocked()
        assert order == []
        second.done()
    assert order == ["alone", "small"]


async def test_giving_up_the_wait_lets_the_next_ones_pass() -> None:
    turns, got = Turns(2), trio.Event()

    async def small() -> None:
        await turns.take()
        got.set()

    await turns.take()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as inner:
                inner.start_soon(lambda: turns.take(alone=True))
                await wait_all_tasks_blocked()
                nursery.start_soon(small)
                await wait_all_tasks_blocked()
                assert not got.is_set()
                scope.cancel()
        with trio.fail_after(1):
            await got.wait()
    assert turns.waiting == 0


async def test_a_turn_given_back_twice_counts_once() -> None:
    turns = Turns(1)
    turn = await turns.take()
    turn.done()
    turn.done()
    await turns.take()
    with trio.move_on_after(0) as scope:
        await turns.take()
    assert scope.cancelled_caught
