#!/usr/bin/env python3
"""Train the starter model from the corpus in scripts/starter/corpus and write it as GGUF.

    python3 -m venv /tmp/starter-venv
    /tmp/starter-venv/bin/pip install -r scripts/starter/requirements.txt
    /tmp/starter-venv/bin/python scripts/train_starter.py --out models/starter/starter.gguf

The same seed, steps and sizes give the same batches on every machine. Training that was stopped goes
on from its last checkpoint when it is started again with the same arguments.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import sys
import time
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

LATER_RATE = 0.5  # the peak of the learning rate after the first cycle, as a share of the first


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("models/starter/starter.gguf"))
    parser.add_argument(
        "--cycles",
        type=int,
        nargs="+",
        default=[3000, 2000, 1000, 1000],
        metavar="STEPS",
        help="steps of each cycle; the learning rate falls in each (default 3000 2000 1000 1000). A finished training "
        "goes on when a cycle is added",
    )
    parser.add_argument(
        "--average",
        type=int,
        default=3,
        help="the model is the mean of the weights at the ends of this many last cycles (default 3)",
    )
    parser.add_argument("--tokens", type=int, default=2048, help="tokens in a step (default 2048)")
    parser.add_argument(
        "--rate", type=float, default=0.02, help="peak learning rate (default 0.02)"
    )
    parser.add_argument("--width", type=int, default=160, help="model width (default 160)")
    parser.add_argument("--layers", type=int, default=4, help="layers (default 4)")
    parser.add_argument("--vocab", type=int, default=2048, help="tokens in the vocabulary")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="processor cores to use (default 2)")
    parser.add_argument("--checkpoint", type=Path, help="default: build/starter-checkpoint.pkl")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if hasattr(os, "sched_setaffinity"):  # must happen before JAX starts its threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from starter import network
    from starter.corpus import load_corpus
    from starter.dialogues import Asker
    from starter.export import write_gguf
    from starter.tokens import Packer, train_tokenizer

    corpus = load_corpus()
    asker = Asker(corpus, "train")
    rng = random.Random(f"tokenizer-{args.seed}")
    texts = (turn.text for _ in range(15000) for turn in asker.dialogue(rng, 1))
    roles = ["system\n", "user\n", "assistant\n"] * 1000
    tokenizer = train_tokenizer([*roles, *texts], args.vocab)
    shape = network.Shape(
        vocab=-(-tokenizer.get_vocab_size() // 32) * 32,
        width=args.width,
        layers=args.layers,
        heads=args.width // 32,
        kv_heads=args.width // 32,
        hidden=args.width * 14 // 5 // 32 * 32,
    )
    params = train(args, shape, Packer(tokenizer, asker))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(args.out, shape, params, tokenizer)
    print(
        f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {network.count(params):,} parameters"
    )


def train(args: argparse.Namespace, shape: Any, packer: Any) -> Any:
    """Run every step that is left; returns the trained parameters."""
    import jax
    from starter import network, optimiser

    @partial(jax.jit, donate_argnums=(0, 1))
    def advance(params: Any, state: Any, step: Any, rate: Any, *batch: Any) -> Any:
        value, grads = jax.value_and_grad(partial(network.loss, shape))(params, *batch)
        params, state = optimiser.update(params, grads, state, step, rate)
        return params, state, value

    params = network.init(shape, args.seed)
    state = optimiser.begin(params)
    checkpoint = args.checkpoint or Path("build/starter-checkpoint.pkl")
    wanted = {
        k: str(v)
        for k, v in vars(args).items()
        if k not in ("out", "threads", "checkpoint", "cycles", "average")
    }
    first = 0
    if saved := load_checkpoint(checkpoint, wanted):
        first, params, state = saved
        print(f"going on after step {first} from {checkpoint}")
    print(f"{network.count(params):,} parameters, {shape}", flush=True)
    began, smooth, steps = time.monotonic(), None, sum(args.cycles)
    ends = list(accumulate(args.cycles))
    for step in range(first, steps):
        batch = step_batch(args, packer, step, shape.context)
        rate = learning_rate(args.rate, step, args.cycles)
        params, state, value = advance(params, state, step + 1.0, rate, *batch)
        if step % 20 == 19:
            smooth = float(value) if smooth is None else 0.8 * smooth + 0.2 * float(value)
        if step % 100 == 99:
            spent = time.monotonic() - began
            left = spent / (step + 1 - first) * (steps - step - 1)
            print(
                f"step {step + 1}/{steps} loss {smooth:.4f} {spent:.0f} s, {left:.0f} s left",
                flush=True,
            )
        if step % 500 == 499:
            save_checkpoint(
                checkpoint, wanted, step + 1, jax.device_get(params), jax.device_get(state)
            )
        if step + 1 in ends:
            save_checkpoint(
                end_of(checkpoint, step + 1), wanted, step + 1, jax.device_get(params), None
            )
    return mean_of(checkpoint, wanted, ends[-args.average :])


def end_of(checkpoint: Path, step: int) -> Path:
    """Where the weights at the end of a cycle are kept."""
    return checkpoint.with_suffix(f".{step}.pkl")


def mean_of(checkpoint: Path, wanted: dict[str, str], ends: list[int]) -> Any:
    """The mean of the weights at these ends of cycles: better than any one of them."""
    import jax

    kept = [load_checkpoint(end_of(checkpoint, step), wanted) for step in ends]
    weights = [saved[1] for saved in kept if saved is not None]
    return jax.tree_util.tree_map(lambda *same: sum(same) / len(same), *weights)


def step_batch(args: argparse.Namespace, packer: Any, step: int, context: int) -> tuple[Any, ...]:
    """The batch of a step: mostly short rows, sometimes long ones, for chats with a history.

    Short rows are the quickest; the first cycle takes longer ones, which teach to look far back.
    """
    rng = random.Random(f"batch-{args.seed}-{step}")
    first_cycle = step < args.cycles[0]
    short, every = (256, 8) if first_cycle else (128, 16)
    length = 768 if step % every == every - 1 else short
    made = packer.batch(rng, args.tokens // length, length, context)
    return made.tokens, made.weights, made.dialogue, made.position


def learning_rate(peak: float, step: int, cycles: list[int]) -> float:
    """In each cycle a short warm-up, a plateau, then down to nothing over the last two thirds."""
    for number, steps in enumerate(cycles):
        if step < steps:
            warm = min(1.0, (step + 1) / 100)
            fall = min(1.0, (steps - step) / (steps * 0.67))
            return peak * warm * fall * LATER_RATE ** min(number, 1)
        step -= steps
    return 0.0


def save_checkpoint(path: Path, wanted: dict[str, str], step: int, params: Any, state: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps((wanted, step, params, state)))
    part.replace(path)


def load_checkpoint(path: Path, wanted: dict[str, str]) -> tuple[int, Any, Any] | None:
    """The checkpoint, if there is one that was made with the same arguments. Only our own files lie there."""
    if not path.exists():
        return None
    arguments_then, step, params, state = pickle.loads(path.read_bytes())
    return (step, params, state) if arguments_then == wanted else None


if __name__ == "__main__":
    main()
