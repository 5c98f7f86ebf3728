"""What is measured, each against real processes and over real HTTP."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from stats import Row

from protocols.http import requests
from protocols.http.control import AddModel
from tests.support.gguf_maker import FLOAT32, Tensor, llama_file
from tests.support.node_process import NodeProcess

PROMPTS = ("tell me a joke", "where are my keys?", "what is 3 plus 4?", "how do I add a model?")


@dataclass(frozen=True)
class Server:
    base: str  # ends with /v1
    model: str
    key: str


def start_to_ready(node: NodeProcess, starts: int) -> Row:
    """From the command to the API answering; the first start (which makes the home) is not counted."""
    node.start()
    node.stop()
    times = []
    for _ in range(starts):
        begun = time.perf_counter()
        node.start()
        node.client().call(requests.status())
        times.append(time.perf_counter() - begun)
        node.stop()
    return Row("start to ready", "s", tuple(times), "<= 1.5")


def idle_memory(node: NodeProcess) -> Row:
    """Resident memory of the node and its children, no model loaded."""
    process = psutil.Process(node.node.pid)
    family = [process, *process.children(recursive=True)]
    return Row("idle memory", "MB", (sum(p.memory_info().rss for p in family) / 1e6,), "<= 120")


def add_against_hash(node: NodeProcess, file: Path, rounds: int) -> Row:
    """Adding a large file through the API, over one sha256 of the same bytes; they take turns."""
    client, ratios = node.client(), []
    for _ in range(rounds):
        begun = time.perf_counter()
        with file.open("rb") as opened:
            hashlib.file_digest(opened, "sha256")
        hashed = time.perf_counter() - begun
        begun = time.perf_counter()
        transfer = client.call(requests.add_model(AddModel(str(file), "large")))
        for state in client.events(requests.watch_transfer(transfer.id)):
            transfer = state
        if transfer.state != "done":
            raise SystemExit(f"{file} was not added: {transfer.message}")
        ratios.append((time.perf_counter() - begun) / hashed)
        client.call(requests.remove_model("large"))
    return Row("add against one hash", "ratio", tuple(ratios), "<= 1.15")


def large_model(path: Path, size: int) -> Path:
    """A sound GGUF file of `size` bytes and a little: a hole, so that the disk counts for nothing."""
    model = llama_file()
    end = sum(len(t.data) + -len(t.data) % model.alignment for t in model.tensors)
    hole = Tensor("extra.weight", (1024, size // 4096), FLOAT32, b"", end)
    replace(model, tensors=(*model.tensors, hole)).write(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size // 4096 * 4096)
    return path


def stream_rows(servers: list[Server], *, rounds: int, tokens: int) -> list[list[Row]]:
    """First token and speed of one stream; servers take turns inside each round."""
    first: list[list[float]] = [[] for _ in servers]
    speed: list[list[float]] = [[] for _ in servers]
    for server in servers:
        one_stream(server, PROMPTS[0], tokens, seed=0)  # loads the model
    for number in range(rounds):
        order = range(len(servers)) if number % 2 else reversed(range(len(servers)))
        for i in order:
            latency, rate = one_stream(
                servers[i], PROMPTS[number % len(PROMPTS)], tokens, seed=number
            )
            first[i].append(latency)
            speed[i].append(rate)
    names = ["node", "peer"]
    return [
        [
            Row(f"{names[i]}: first token", "ms", tuple(1000 * value for value in first[i])),
            Row(f"{names[i]}: one stream", "tokens/s", tuple(speed[i])),
        ]
        for i in range(len(servers))
    ]


def one_stream(server: Server, prompt: str, tokens: int, *, seed: int) -> tuple[float, float]:
    """Seconds to the first text, and tokens a second after it. Ends the program where that is no figure."""
    address = urlsplit(server.base)
    connection = http.client.HTTPConnection(
        address.hostname or "127.0.0.1", address.port, timeout=300
    )
    body = {
        "model": server.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0.8,
        "seed": seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    begun = time.perf_counter()
    connection.request("POST", f"{address.path}/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{server.base} answered {response.status}: {response.read()[:500]!r}")
    first = last = 0.0
    count = 0
    while line := response.readline():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if event.get("usage"):
            count = event["usage"]["completion_tokens"]
        if event.get("choices") and event["choices"][0]["delta"].get("content"):
            last = time.perf_counter()
            first = first or last
    connection.close()
    if last <= first or count < 2:
        raise SystemExit(f"{server.base} sent no stream to measure: {count} tokens, all at once")
    return first - begun, (count - 1) / (last - first)
