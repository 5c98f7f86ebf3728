"""The figures of scripts/bench: how they are put together, and one round of the real thing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS / "bench"))

from stats import Row, ratio_row, show_table  # type: ignore[import-not-found]  # noqa: E402

from tests.support.gguf_maker import Shape, llama_file  # noqa: E402
from tests.support.node_process import a_node  # noqa: E402

sys.path.remove(str(SCRIPTS / "bench"))


def test_a_ratio_is_taken_pair_by_pair() -> None:
    """A slow moment that both met is not seen in the ratio."""
    mine, theirs = Row("speed", "x", (10.0, 1.0, 20.0)), Row("speed", "x", (5.0, 0.5, 10.0))
    ratio = ratio_row(mine, theirs)
    assert ratio.values == (2.0, 2.0, 2.0)
    assert ratio.unit == "ratio"
    with pytest.raises(ValueError, match="shorter"):
        ratio_row(mine, Row("speed", "x", (1.0,)))


def test_the_middle_half_is_told() -> None:
    row = Row("a", "s", (5.0, 1.0, 2.0, 3.0, 4.0))
    assert row.median == 3.0
    assert row.spread == (1.5, 4.5)
    assert Row("few", "s", (2.0, 1.0)).spread == (1.0, 2.0)
    told = row.as_json()
    assert (told["min"], told["max"], told["rounds"]) == (1.0, 5.0, 5)
    assert told["values"] == [5.0, 1.0, 2.0, 3.0, 4.0]


def test_the_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([Row("a long name", "tokens/s", (1.0,), "<= 2"), Row("b", "s", (1234.5,))])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.index("unit") == first.index("tokens/s") == second.index("s")
    assert first.endswith("<= 2")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return llama_file(shape=Shape(context=256)).write(tmp_path / "small.gguf")


@pytest.mark.native
def test_one_round_against_another_node(tmp_path: Path, model: Path) -> None:
    with a_node(tmp_path / "peer") as peer:
        peer.kith("models", "add", str(model), "--name", "theirs")
        words = ["--rounds", "1", "--starts", "1", "--adds", "0", "--tokens", "24", "--json"]
        words += ["--model-file", str(model), "--peer", peer.node.address]
        words += ["--peer-model", "theirs", "--peer-key", peer.token]
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / "bench"), *words],
            capture_output=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert set(rows) == {
        "start to ready",
        "idle memory",
        "node: first token",
        "node: one stream",
        "peer: first token",
        "peer: one stream",
        "node: first token / peer",
        "node: one stream / peer",
    }
    assert all(row["min"] > 0 for row in rows.values()), "a figure of nothing is no figure"
    ratio = rows["node: one stream / peer"]["median"]
    assert ratio == rows["node: one stream"]["median"] / rows["peer: one stream"]["median"]
