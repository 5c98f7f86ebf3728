"""Which target is chosen, and what is remembered of the choice."""

from node.serving.router import Candidate, choose


def candidate(name: str, **facts: object) -> Candidate:
    known = {"loaded": True, "running": 0, "waiting": 0, "places": 4, **facts}
    return Candidate(name, **known)  # type: ignore[arg-type]


def test_the_emptier_target_is_chosen() -> None:
    choice = choose([candidate("full", running=4, waiting=2), candidate("half", running=2)])
    assert choice.chosen is not None
    assert choice.chosen.name == "half"


def test_a_loaded_model_is_worth_waiting_a_little_for() -> None:
    loaded, other = candidate("loaded", running=3), candidate("other", loaded=False)
    assert choose([other, loaded]).chosen == loaded


def test_the_excluded_are_never_chosen_and_the_reason_is_kept() -> None:
    choice = choose([candidate("peer", excluded="label"), candidate("local", running=4)])
    assert choice.chosen is not None
    assert choice.chosen.name == "local"
    assert choice.considered[0]["excluded"] == "label"
    assert choose([candidate("peer", excluded="label")]).chosen is None
