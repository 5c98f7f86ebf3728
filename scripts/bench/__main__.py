"""Measure the node: start to ready, idle memory, adding a file, first token, tokens a second of one stream.

    .venv/bin/python scripts/bench                       the node of this checkout
    .venv/bin/python scripts/bench --make-model FILE     write the measured model, for another server to load
    .venv/bin/python scripts/bench --peer http://127.0.0.1:8080 --peer-model x
                                       the same prompts to another OpenAI-compatible server, interleaved,
                                       and the ratio of each pair (ours / theirs; for speed more is better)
    .venv/bin/python scripts/bench --json

The measured model has random weights (0.1 GB as Q8_0, the shape of a 135-million-parameter model) and does not
stop by itself. Machines are shared and noisy: read medians and paired ratios, not single times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rows import (
    Server,
    add_against_hash,
    idle_memory,
    large_model,
    start_to_ready,
    stream_rows,
)
from stats import Row, ratio_row, show_table

from tests.support.gguf_maker import Shape, llama_file
from tests.support.node_process import a_node

SHAPE = Shape(dim=576, blocks=30, heads=9, kv_heads=3, feed_forward=1536, context=8192)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="streams measured (default 15)")
    parser.add_argument("--starts", type=int, default=5, help="starts measured (default 5)")
    parser.add_argument(
        "--adds", type=int, default=5, help="adds of 1 GB measured (default 5; 0: none)"
    )
    parser.add_argument(
        "--tokens", type=int, default=128, help="tokens of one answer (default 128)"
    )
    parser.add_argument("--model-file", type=Path, help="measure this GGUF file instead")
    parser.add_argument(
        "--make-model", type=Path, help="only write the measured model to this file"
    )
    parser.add_argument("--peer", help="base URL of another OpenAI-compatible server")
    parser.add_argument("--peer-model", default="default")
    parser.add_argument("--peer-key", default="none")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser.parse_args(words)


def measure(options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, a_node(Path(folder), start=False) as node:
        rows.append(start_to_ready(node, options.starts))
        node.start()
        rows.append(idle_memory(node))
        if options.adds:
            large = large_model(Path(folder) / "large.gguf", 1 << 30)
            rows.append(add_against_hash(node, large, options.adds))
        file = options.model_file or make_model(Path(folder) / "bench.gguf")
        added = node.kith("models", "add", str(file), "--name", "bench")
        if added.returncode:
            raise SystemExit(f"the model could not be added: {added.stderr}")
        ours = Server(f"{node.node.address}/v1", "bench", node.token)
        servers = [ours]
        if options.peer:
            servers.append(
                Server(f"{options.peer.rstrip('/')}/v1", options.peer_model, options.peer_key)
            )
        measured = stream_rows(servers, rounds=options.rounds, tokens=options.tokens)
        rows += [*measured[0]]
        if options.peer:
            rows += measured[1]
            rows += [ratio_row(mine, theirs) for mine, theirs in zip(*measured, strict=True)]
    return rows


def make_model(file: Path) -> Path:
    return llama_file(shape=SHAPE).write(file)


def main() -> int:
    options = arguments()
    if options.make_model:
        print(make_model(options.make_model))
        return 0
    rows = measure(options)
    if options.json:
        print(json.dumps({"rows": [row.as_json() for row in rows]}, indent=2))
    else:
        show_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
