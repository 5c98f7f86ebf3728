"""The starter model tells a joke whenever it is asked to, on a machine with no network at all."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.e2e.ask_jokes import JOKES
from tests.support import netns

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "scripts" / "starter" / "corpus" / "jokes.txt"

pytestmark = [
    pytest.mark.native,
    pytest.mark.namespace,
    pytest.mark.skipif(bool(netns.missing()), reason=netns.missing() or "it can run here"),
]


def test_a_hundred_seeds_a_hundred_jokes(tmp_path: Path) -> None:
    jokes = {line.strip() for line in CORPUS.read_text(encoding="utf-8").splitlines()}
    with netns.no_network() as namespace:
        words = [sys.executable, "-m", "tests.e2e.ask_jokes", str(tmp_path)]
        done = namespace.run(words, env=os.environ, cwd=ROOT, timeout=170)
        assert done.returncode == 0, done.stderr
        assert namespace.living() == {}
    answers = json.loads(done.stdout)
    assert len(answers) == JOKES
    assert [answer for answer in answers if answer not in jokes] == []
    assert len(set(answers)) >= 20
