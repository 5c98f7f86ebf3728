#!/usr/bin/env python3
"""Ask the shipped starter model held-out questions and print how many it answers rightly.

Held out means: families of phrasing, topics and system prompts that training never saw (the split
"test" of the corpus; "dev" is for tuning). An answer counts only if it is, to the letter, a right
answer of the corpus; a joke only if it is one of the corpus. Sampling is that of `node chat`.

    .venv/bin/python scripts/eval_starter.py [--json] [--split dev] [--show-wrong]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from starter.corpus import load_corpus
from starter.dialogues import Turn
from starter.scoring import Answer, Score, held_out, judge, tell_me_a_joke

MODEL = Path(__file__).resolve().parents[1] / "models" / "starter" / "starter.gguf"
JOKES = "tell me a joke"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=200, help="questions in a group (default 200)")
    parser.add_argument("--jokes", type=int, default=100, help=f"times '{JOKES}' is asked")
    parser.add_argument("--temperature", type=float, help="default: what the file recommends")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show-wrong", action="store_true")
    return parser.parse_args()


USUAL_TEMPERATURE = 0.8  # of a node, when the file recommends none


@contextmanager
def open_model(path: Path, temperature: float | None = None, threads: int = 1) -> Iterator[Answer]:
    """A function that answers with the model, through the chat template in its file."""
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
    if temperature is None:
        temperature = float(model.metadata.get("general.sampling.temp", USUAL_TEMPERATURE))

    def answer(messages: list[Turn], seed: int) -> str:
        model.reset()  # nothing of an earlier question may help with this one
        made = model.create_chat_completion(
            messages=[{"role": turn.role, "content": turn.text} for turn in messages],
            temperature=temperature,
            top_k=40,
            top_p=0.95,
            min_p=0.05,
            repeat_penalty=1.0,
            max_tokens=128,
            seed=seed,
        )
        return str(made["choices"][0]["message"]["content"])

    try:
        yield answer
    finally:
        model.close()


def main() -> None:
    args = arguments()
    corpus = load_corpus()
    groups = {JOKES: tell_me_a_joke(corpus, args.jokes)}
    groups |= held_out(corpus, args.split, args.seed, args.size)
    with open_model(args.model, args.temperature, args.threads) as answer:
        scores = {name: judge(cases, answer, args.seed) for name, cases in groups.items()}
    if args.json:
        print(json.dumps({name: as_row(score) for name, score in scores.items()}, indent=2))
        return
    for name, score in scores.items():
        print(f"{name:26} {score.right:4}/{score.asked:<4} {score.share:6.1%}")
        if args.show_wrong:
            for asked, said in score.wrong:
                print(f"      {asked!r} -> {said!r}")
    print(f"different jokes in {args.jokes} asks: {len(scores[JOKES].answers)}")


def as_row(score: Score) -> dict[str, object]:
    return {
        "right": score.right,
        "asked": score.asked,
        "share": round(score.share, 4),
        "different_answers": len(score.answers),
        "wrong": score.wrong,
    }


if __name__ == "__main__":
    main()
