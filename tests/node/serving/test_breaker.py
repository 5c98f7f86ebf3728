"""When a worker that keeps dying is started again."""

from node.serving.breaker import LONGEST_OPEN_S, OPEN_AFTER, OPEN_S, Breaker


def test_the_first_restart_is_immediate_and_later_ones_wait_longer() -> None:
    breaker = Breaker()
    delays = []
    for _ in range(OPEN_AFTER - 1):
        breaker.died(100.0)
        delays.append(breaker.delay_s(100.0))
    assert delays[0] == 0
    assert delays[1:] == sorted(delays[1:])
    assert delays[1] > 0
    assert breaker.delay_s(100.0 + delays[-1]) == 0


def test_after_many_deaths_in_a_row_it_refuses_then_tries_once_then_refuses_longer() -> None:
    breaker = Breaker()
    for _ in range(OPEN_AFTER):
        breaker.died(0.0)
    assert breaker.refuses_for(0.0) == OPEN_S
    assert breaker.refuses_for(OPEN_S) == 0
    breaker.died(OPEN_S)
    assert breaker.refuses_for(OPEN_S) == 2 * OPEN_S
    for _ in range(1000):
        breaker.died(0.0)
    assert breaker.refuses_for(0.0) == LONGEST_OPEN_S


def test_an_answer_makes_everything_good_again() -> None:
    breaker = Breaker()
    for _ in range(OPEN_AFTER):
        breaker.died(0.0)
    breaker.answered()
    assert breaker.refuses_for(0.0) == 0
    assert breaker.delay_s(0.0) == 0
