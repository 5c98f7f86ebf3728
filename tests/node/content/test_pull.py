"""Pulling from a real server on loopback that does everything a server can do wrong."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest
import trio

from node.config import Settings
from node.content import (
    BadName,
    BadRef,
    NameTaken,
    NotAllowed,
    TooMany,
    Transfers,
    UnknownTransfer,
    open_transfers,
)
from node.home import Home
from node.owner import Caller
from node.store import StoreFull
from protocols.http.control import AddModel, PullModel, Transfer
from protocols.unixfs import hash_bytes
from tests.node.content.conftest import Place, opened
from tests.support.gguf_maker import llama_file, split, tiny_llama
from tests.support.hub import Fault, Hub

OWNER = Caller("owner", "owner", "device", "public", frozenset({"*"}))
OVER = ("done", "failed", "stopped")


@dataclass
class Pulling:
    """A node's transfers, and the hub that they pull from."""

    place: Place
    transfers: Transfers
    hub: Hub

    async def pull(self, ref: str, **more: str) -> Transfer:
        """Pull, and wait for the end."""
        begun = await self.transfers.start_pull(PullModel(ref=ref, **more), OWNER)
        return await self.end(begun.id)

    async def end(self, id_: str) -> Transfer:
        return (await self.seen(id_))[-1]

    async def seen(
        self, id_: str, react: Callable[[Transfer], None] | None = None
    ) -> list[Transfer]:
        """All that a watcher sees, to the end."""
        seen: list[Transfer] = []
        with trio.fail_after(30):
            async with self.transfers.watch(id_) as channel:
                async for now in channel:
                    seen.append(now)
                    if react is not None:
                        react(now)
        return seen

    async def until(self, id_: str, done: int) -> Transfer:
        with trio.fail_after(30):
            async with self.transfers.watch(id_) as channel:
                async for now in channel:
                    if now.done >= done or now.state in OVER:
                        return now
        raise AssertionError("it ended without a last word")

    def partials(self) -> list[Path]:
        return sorted(p for p in self.place.home.partial.rglob("*") if p.is_file())


def settings_for(hub: Hub, **content: object) -> Settings:
    wanted: dict[str, object] = {
        "hub_endpoint": hub.endpoint,
        "pull_timeout_s": 5.0,
        "pull_retries": 3,
        **content,
    }
    return msgspec.convert({"content": wanted}, Settings)


@asynccontextmanager
async def pulling(
    root: Path, starter: Path, hub: Hub, settings: Settings | None = None
) -> AsyncIterator[Pulling]:
    settings = settings or settings_for(hub)
    async with (
        opened(root, starter, settings) as place,
        open_transfers(
            place.home, settings, place.library, place.events, first_wait_s=0.01
        ) as transfers,
    ):
        yield Pulling(place, transfers, hub)


@pytest.fixture
async def node(root: Path, starter: Path, hub: Hub) -> AsyncIterator[Pulling]:
    async with pulling(root, starter, hub) as node:
        yield node


@pytest.fixture(scope="module")
def data() -> bytes:
    """A real model of some megabytes."""
    return llama_file(seed=11).to_bytes() + bytes(3_000_000)


# --- what goes well -------------------------------------------------------------------------------


async def test_a_pull_becomes_a_model_of_our_own(node: Pulling, data: bytes) -> None:
    ref = node.hub.put("ann/tiny", "Tiny.Q8_0.gguf", data)
    done = await node.pull(ref)
    assert (done.state, done.model, done.done, done.total) == (
        "done",
        "tiny.q8_0",
        len(data),
        len(data),
    )
    model = await node.place.library.find("tiny.q8_0")
    assert model.storage == "own"
    assert model.source == ref
    assert model.cid == hash_bytes(data).cid.text
    assert model.parts[0].sha256 == hashlib.sha256(data).hexdigest()
    assert model.path.read_bytes() == data
    assert node.hub.body_bytes() == len(data)
    assert list(node.place.home.partial.iterdir()) == []
    await node.place.library.check(model)


async def test_every_byte_that_came_is_in_the_event_log(node: Pulling, data: bytes) -> None:
    done = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    (started,) = await node.place.happened("transfer.started")
    assert started.subject == done.id
    assert started.facts == {"ref": "hf:ann/tiny/t.gguf", "host": "127.0.0.1", "asked_by": "owner"}
    (ended,) = await node.place.happened("transfer.ended")
    assert ended.facts["hosts"] == {"127.0.0.1": len(data)}
    (pulled,) = await node.place.happened("model.pulled")
    assert pulled.facts["hosts"] == {"127.0.0.1": len(data)}
    assert await node.place.events.verify() is None


async def test_progress_is_told_from_the_beginning_to_the_end(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(hold_after=1_500_000))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)

    def react(now: Transfer) -> None:
        if now.done >= 1_000_000:
            node.hub.release()

    seen = await node.seen(begun.id, react)
    assert any(0 < now.done < len(data) for now in seen)
    assert [now.done for now in seen] == sorted(now.done for now in seen)
    assert any(now.rate > 0 and now.eta_s is not None for now in seen)
    assert seen[-1].state == "done"
    assert {now.id for now in seen} == {begun.id}


async def test_several_watchers_each_get_the_end(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(hold_after=100_000))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
    ends: list[Transfer] = []

    async def look() -> None:
        ends.append(await node.end(begun.id))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(look)
        async with node.transfers.watch(begun.id):
            node.hub.release()  # this one never reads, and holds up nobody
            await node.end(begun.id)
    assert [end.state for end in ends] == ["done"] * 3


async def test_an_address_of_any_server_will_do(node: Pulling, data: bytes) -> None:
    node.hub.put("ann/tiny", "t.gguf", data)
    done = await node.pull(f"{node.hub.cdn}/blobs/ann/tiny/t.gguf?signature=secret")
    assert done.state == "done"
    model = await node.place.library.find("t")
    assert model.source == f"{node.hub.cdn}/blobs/ann/tiny/t.gguf"
    assert "secret" not in str(await node.place.happened(""))


@pytest.mark.parametrize(
    "change",
    [{"linked": False}, {"heads": False}, {"validators": False}, {"redirects": False},
     {"lengths": False, "linked": False}, {"heads": False, "linked": False, "redirects": False}],
)  # fmt: skip
async def test_servers_that_tell_less_still_serve(
    node: Pulling, data: bytes, change: dict[str, bool]
) -> None:
    for name, value in change.items():
        setattr(node.hub, name, value)
    done = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert (done.state, done.message) == ("done", "")
    assert (await node.place.library.find("t")).cid == hash_bytes(data).cid.text


async def test_all_parts_of_a_split_model_come_as_one(node: Pulling, tmp_path: Path) -> None:
    paths = split(llama_file(), tmp_path, "big", 3)
    for path in paths:
        ref = node.hub.put("ann/big", path.name, path.read_bytes())
    total = sum(path.stat().st_size for path in paths)
    done = await node.pull(ref)  # the last part's name
    assert (done.state, done.model, done.done, done.total) == ("done", "big", total, total)
    model = await node.place.library.find("big")
    assert [path.name for path in model.files] == [path.name for path in paths]
    assert model.path == model.files[0]
    assert model.cid == (await node.place.library.add(paths[0])).cid


async def test_a_split_model_goes_on_in_the_part_where_it_was(
    node: Pulling, tmp_path: Path
) -> None:
    paths = split(llama_file(), tmp_path, "big", 3)
    for path in paths:
        ref = node.hub.put("ann/big", path.name, path.read_bytes())
    node.hub.fail(Fault(), Fault(hold_after=70_000))
    begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
    with trio.fail_after(10):
        await trio.to_thread.run_sync(node.hub.held.wait, 10)
    await node.transfers.stop(begun.id)
    node.hub.release()
    assert (await node.pull(ref)).state == "done"
    first = [r for r in node.hub.downloads() if "00001" in r.path]
    assert len(first) == 1


async def test_a_name_label_and_hash_may_be_given(node: Pulling, data: bytes) -> None:
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    done = await node.pull(
        ref, name="Mine", label="fleet", sha256=hashlib.sha256(data).hexdigest().upper()
    )
    assert done.model == "mine"
    assert (await node.place.library.find("mine")).label == "fleet"


# --- nothing twice --------------------------------------------------------------------------------


async def test_what_the_library_has_is_not_fetched_again(node: Pulling, data: bytes) -> None:
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    await node.pull(ref)
    other = node.hub.put("bob/copy", "other.gguf", data)
    done = await node.pull(other)
    assert (done.state, done.model) == ("done", "t")
    assert "already" in done.message
    assert node.hub.body_bytes() == len(data)


async def test_bytes_that_turn_out_to_be_known_are_not_kept_twice(
    node: Pulling, data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(data)
    await node.place.library.add(path)
    done = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert (done.state, done.model) == ("done", "mine")
    assert list(node.place.home.models.iterdir()) == []
    assert list(node.place.home.partial.iterdir()) == []


async def test_the_same_reference_is_fetched_once_at_a_time(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(hold_after=100_000))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    first = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
    second = await node.transfers.start_pull(PullModel(ref=f" {ref} "), OWNER)
    assert second.id == first.id
    node.hub.release()
    assert (await node.end(first.id)).state == "done"
    assert node.hub.body_bytes() == len(data)


async def test_a_pull_brings_a_lost_model_back_under_its_name(
    node: Pulling, data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(data)
    model = await node.place.library.add(path)
    path.unlink()
    done = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert done.model == "mine"
    again = await node.place.library.find("mine")
    assert (again.storage, again.cid, again.missing) == ("own", model.cid, False)


# --- interruptions --------------------------------------------------------------------------------


async def test_a_broken_connection_is_taken_up_where_it_broke(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(cut_after=300_000), Fault(cut_after=1_000_000), Fault(cut_after=100))
    done = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert done.state == "done"
    starts = [request.range_start for request in node.hub.downloads()]
    assert starts == [0, 300_000, 1_300_000, 1_300_100]
    assert node.hub.body_bytes() == len(data)


async def test_a_stopped_pull_goes_on_later_under_the_same_id(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(hold_after=2_000_000))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
    await node.until(begun.id, 1_000_000)
    stopped = await node.transfers.stop(begun.id)
    assert stopped.state == "stopped"
    assert "again to go on" in stopped.message
    (partial,) = [p for p in node.partials() if p.name == "t.gguf"]
    have = partial.stat().st_size
    assert have >= 1_000_000
    node.hub.release()
    done = await node.pull(ref)
    assert (done.state, done.id) == ("done", begun.id)
    last = node.hub.downloads()[-1]
    assert (last.range_start, last.sent) == (have, len(data) - have)
    assert [e.subject for e in await node.place.happened("transfer.stopped")] == [begun.id]


async def test_after_a_restart_unfinished_pulls_are_listed_and_go_on(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    ref = hub.put("ann/tiny", "t.gguf", data)
    hub.fail(Fault(hold_after=2_000_000))
    async with pulling(root, starter, hub) as node:
        begun = await node.transfers.start_pull(PullModel(ref=ref, name="Mine"), OWNER)
        await node.until(begun.id, 1_000_000)
    hub.release()
    async with pulling(root, starter, hub) as node:
        (listed,) = await node.transfers.list()
        assert (listed.id, listed.state, listed.ref, listed.name) == (
            begun.id,
            "stopped",
            ref,
            "mine",
        )
        assert listed.done >= 1_000_000
        assert listed.total == len(data)
        assert (await node.pull(ref, name="mine")).state == "done"
        assert node.hub.downloads()[-1].range_start == listed.done
        assert [t.state for t in await node.transfers.list()] == ["done"]


async def test_after_a_loss_of_power_only_synced_bytes_are_trusted(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    ref = hub.put("ann/tiny", "t.gguf", data)
    hub.fail(Fault(hold_after=2_000_000))
    async with pulling(root, starter, hub) as node:
        begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
        await node.until(begun.id, 1_000_000)
    hub.release()
    (sidecar,) = (root / "partial").rglob("pull.json")
    written = msgspec.json.decode(sidecar.read_bytes())
    written["boot"] = "another start of the machine"
    written["files"][0]["synced"] = 500_000
    sidecar.write_bytes(msgspec.json.encode(written))
    async with pulling(root, starter, hub) as node:
        assert (await node.pull(ref)).state == "done"
        assert node.hub.downloads()[-1].range_start == 500_000


async def test_a_stall_is_a_broken_connection(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    hub.fail(Fault(hold_after=1_200_000))
    async with pulling(root, starter, hub, settings_for(hub, pull_timeout_s=0.3)) as node:
        done = await node.pull(hub.put("ann/tiny", "t.gguf", data))
        assert done.state == "done"
        assert len(hub.downloads()) == 2
        assert hub.downloads()[1].range_start >= 1_000_000


async def test_tries_that_bring_nothing_come_to_an_end_and_what_came_is_kept(
    node: Pulling, data: bytes
) -> None:
    node.hub.fail(Fault(cut_after=700_000), *[Fault(status=503)] * 20)
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    failed = await node.pull(ref)
    assert failed.state == "failed"
    assert "answered 503" in failed.message
    assert "pull again" in failed.message
    assert len([r for r in node.hub.requests if r.status == 503]) == 3
    (event,) = await node.place.happened("transfer.failed")
    assert event.facts["hosts"] == {"127.0.0.1": 700_000}
    node.hub._faults.clear()
    assert (await node.pull(ref)).state == "done"
    assert node.hub.body_bytes() == len(data)


async def test_a_server_that_is_busy_is_left_alone_as_long_as_it_asks(
    node: Pulling, data: bytes
) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    node.hub.fail(Fault(status=429, headers=(("Retry-After", "1"),)))
    node.hub.fail(Fault(status=503, headers=(("Retry-After", soon),)), method="HEAD", role="hub")
    began = trio.current_time()
    assert (await node.pull(node.hub.put("ann/tiny", "t.gguf", data))).state == "done"
    assert trio.current_time() - began >= 1.5


async def test_a_server_that_asks_for_hours_is_not_waited_for(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(status=429, headers=(("Retry-After", "7200"),)))
    failed = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert failed.state == "failed"
    assert "120 minutes" in failed.message


async def test_a_server_without_ranges_starts_over(node: Pulling, data: bytes) -> None:
    node.hub.ranges = False
    node.hub.fail(Fault(cut_after=1_500_000))
    done = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert (done.state, done.done) == ("done", len(data))
    assert (await node.place.library.find("t")).cid == hash_bytes(data).cid.text


@pytest.mark.parametrize("linked", [True, False])
async def test_a_file_that_changes_midway_is_fetched_anew(
    node: Pulling, data: bytes, linked: bool
) -> None:
    node.hub.linked = linked
    node.hub.fail(Fault(hold_after=1_500_000))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
    await node.until(begun.id, 1_000_000)
    await node.transfers.stop(begun.id)
    other = llama_file(seed=99).to_bytes() + bytes(2_000_000)
    node.hub.put("ann/tiny", "t.gguf", other)
    node.hub.release()
    done = await node.pull(ref)
    assert (done.state, done.done, done.total) == ("done", len(other), len(other))
    assert (await node.place.library.find("t")).cid == hash_bytes(other).cid.text


async def test_a_file_that_changes_between_two_tries_is_fetched_anew(
    node: Pulling, data: bytes
) -> None:
    other = llama_file(seed=99).to_bytes() + bytes(2_000_000)
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    node.hub.fail(Fault(hold_after=1_500_000, cut_after=1_600_000))
    begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
    await node.until(begun.id, 1_000_000)
    node.hub.put("ann/tiny", "t.gguf", other)
    node.hub.release()
    done = await node.end(begun.id)
    assert done.state == "done"
    assert (await node.place.library.find("t")).cid == hash_bytes(other).cid.text


# --- what is refused ------------------------------------------------------------------------------


async def test_bytes_with_the_wrong_hash_are_refused_and_deleted(
    node: Pulling, data: bytes
) -> None:
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    node.hub.files["ann/tiny/t.gguf"].claimed_sha256 = "ab" * 32
    failed = await node.pull(ref)
    assert failed.state == "failed"
    assert "not those that were promised" in failed.message
    assert node.partials() == []
    assert [m.name for m in await node.place.library.list()] == ["starter"]


async def test_another_hash_than_was_asked_for_is_refused_before_anything_comes(
    node: Pulling, data: bytes
) -> None:
    failed = await node.pull(node.hub.put("ann/tiny", "t.gguf", data), sha256="cd" * 32)
    assert failed.state == "failed"
    assert "was asked for" in failed.message
    assert node.hub.body_bytes() == 0


async def test_a_given_hash_is_checked_where_the_server_tells_none(
    node: Pulling, data: bytes
) -> None:
    node.hub.linked = False
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    assert "not those that were promised" in (await node.pull(ref, sha256="cd" * 32)).message
    assert (await node.pull(ref, sha256=hashlib.sha256(data).hexdigest())).state == "done"


async def test_a_bad_model_is_refused_after_the_download_with_the_reason(node: Pulling) -> None:
    hostile = llama_file().without("general.architecture").to_bytes()
    failed = await node.pull(node.hub.put("ann/tiny", "t.gguf", hostile))
    assert failed.state == "failed"
    assert "does not say its architecture" in failed.message
    assert node.partials() == []


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"<!doctype html><p>log in", "a web page"), (b"\x80\x02" * 999, "something else")],
)
async def test_what_is_plainly_no_model_is_not_fetched_to_its_end(
    node: Pulling, body: bytes, why: str
) -> None:
    failed = await node.pull(node.hub.put("ann/tiny", "t.gguf", body + bytes(60_000_000)))
    assert why in failed.message
    assert node.hub.body_bytes() < 30_000_000
    assert node.partials() == []


async def test_a_server_that_lies_about_the_length_is_caught(node: Pulling, data: bytes) -> None:
    node.hub.linked = False
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    node.hub.fail(*[Fault(claim_length=len(data) + 1000)] * 1)
    assert (await node.pull(ref)).state == "done"  # it broke off, and the next answer was right
    assert (await node.place.library.find("t")).size == len(data)


async def test_the_hub_and_its_store_must_agree_on_the_size(node: Pulling, data: bytes) -> None:
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    node.hub.files["ann/tiny/t.gguf"].claimed_size = len(data) - 5
    failed = await node.pull(ref)
    assert "the hub says" in failed.message
    assert node.partials() == []


async def test_more_than_the_largest_model_is_refused(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    async with pulling(root, starter, hub, settings_for(hub, max_model_bytes=1_000_000)) as node:
        assert "max_model_bytes" in (await node.pull(hub.put("a/t", "t.gguf", data))).message
        hub.lengths = hub.linked = False
        failed = await node.pull(hub.put("a/u", "u.gguf", data))
        assert "more than it announced" in failed.message
        assert node.partials() == []


async def test_names_that_are_taken_or_impossible_are_told_at_once(
    node: Pulling, data: bytes, tmp_path: Path
) -> None:
    await node.place.library.add(tiny_llama(tmp_path / "m.gguf"))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    for what, error in (
        (PullModel(ref=ref, name="M"), NameTaken),
        (PullModel(ref=ref, name="a b"), BadName),
        (PullModel(ref=ref, sha256="xyz"), BadRef),
        (PullModel(ref="hf:ann/big/b-00001-of-00002.gguf", sha256="ab" * 32), BadRef),
        (PullModel(ref="nothing"), BadRef),
    ):
        with pytest.raises(error):
            await node.transfers.start_pull(what, OWNER)
    assert node.hub.requests == []
    with pytest.raises(UnknownTransfer):
        await node.transfers.get("absent")


@pytest.mark.parametrize("file", ["absent.gguf", "T.GGUF"])
async def test_a_file_that_is_not_there_is_told(node: Pulling, data: bytes, file: str) -> None:
    node.hub.put("ann/tiny", "t.gguf", data)
    failed = await node.pull(f"hf:ann/tiny/{file}")
    assert "no such file in the repository" in failed.message


async def test_nobody_there_is_told_after_some_tries(
    root: Path, starter: Path, hub: Hub, unused_port: int
) -> None:
    nobody = f"http://127.0.0.1:{unused_port}"
    async with pulling(root, starter, hub, settings_for(hub, hub_endpoint=nobody)) as node:
        failed = await node.pull("hf:ann/tiny/t.gguf")
        assert "127.0.0.1 cannot be reached" in failed.message


# --- tokens, redirects, offline -------------------------------------------------------------------


async def test_a_gated_model_says_what_to_do(node: Pulling, data: bytes) -> None:
    failed = await node.pull(node.hub.put("ann/gated", "t.gguf", data, gated=True))
    assert "accept the licence" in failed.message
    assert "KITH_CONTENT_HUB_TOKEN" in failed.message
    assert node.hub.body_bytes() == 0


async def test_the_token_goes_to_the_hub_and_to_nobody_else(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    async with pulling(root, starter, hub, settings_for(hub, hub_token=hub.token)) as node:
        assert (await node.pull(hub.put("ann/gated", "t.gguf", data, gated=True))).state == "done"
        assert (await node.pull(f"{hub.cdn}/blobs/ann/gated/t.gguf")).state == "done"
        asked = {r.role: set() for r in hub.requests}
        for request in hub.requests:
            asked[request.role].add(request.authorization)
        assert asked == {"hub": {f"Bearer {hub.token}"}, "cdn": {None}}
        assert hub.token not in str(await node.place.happened(""))


async def test_a_token_that_is_not_enough_is_told(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    async with pulling(root, starter, hub, settings_for(hub, hub_token="hf_wrong")) as node:
        failed = await node.pull(hub.put("ann/gated", "t.gguf", data, gated=True))
        assert "answered 403" in failed.message
        assert "the token in `content.hub_token` is not allowed" in failed.message
        assert "hf_wrong" not in failed.message


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("ftp://x.example/t.gguf", "nothing can be pulled"),
        ("file:///etc/passwd", "nothing can be pulled"),
        ("http://ann:secret@127.0.0.1/t.gguf", "nothing can be pulled"),
    ],
)
async def test_a_redirect_to_nowhere_good_is_not_followed(
    node: Pulling, data: bytes, target: str, why: str
) -> None:
    node.hub.fail(Fault(redirect=target), method="HEAD", role="hub")
    failed = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert failed.state == "failed"
    assert why in failed.message
    assert "secret" not in failed.message


async def test_redirects_come_to_an_end(node: Pulling, data: bytes) -> None:
    circle = f"{node.hub.endpoint}/ann/tiny/resolve/main/t.gguf"
    node.hub.fail(*[Fault(redirect=circle)] * 50, method="HEAD", role="hub")
    failed = await node.pull(node.hub.put("ann/tiny", "t.gguf", data))
    assert "redirects without end" in failed.message


async def test_offline_nothing_but_this_machine_is_asked(
    root: Path, starter: Path, hub: Hub, data: bytes
) -> None:
    settings = msgspec.structs.replace(settings_for(hub), offline=True)
    async with pulling(root, starter, hub, settings) as node:
        with pytest.raises(NotAllowed, match="set to be offline"):
            await node.transfers.start_pull(PullModel(ref="https://x.example/t.gguf"), OWNER)
        assert await node.place.happened("transfer.") == []
        hub.fail(Fault(redirect="http://x.example/t.gguf"), method="HEAD", role="hub")
        failed = await node.pull(hub.put("ann/tiny", "t.gguf", data))
        assert "offline" in failed.message
        assert "x.example" in failed.message
        assert (await node.pull("hf:ann/tiny/t.gguf")).state == "done"


# --- the transfers themselves ---------------------------------------------------------------------


async def test_an_add_is_a_transfer_too(node: Pulling, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    begun = await node.transfers.start_add(AddModel(path=str(path), copy=True), OWNER)
    done = await node.end(begun.id)
    assert (done.kind, done.state, done.model) == ("add", "done", "m")
    assert done.done == done.total == path.stat().st_size
    failed = await node.end(
        (await node.transfers.start_add(AddModel(path="/absent.gguf"), OWNER)).id
    )
    assert failed.state == "failed"
    assert "does not exist" in failed.message
    assert len(await node.place.happened("transfer.failed")) == 1


async def test_a_pull_that_never_got_a_byte_leaves_nothing(node: Pulling) -> None:
    done = await node.pull("hf:ann/tiny/absent.gguf")
    assert done.state == "failed"
    assert list(node.place.home.partial.iterdir()) == []


async def test_the_same_reference_asked_twice_at_once_is_fetched_once(
    node: Pulling, data: bytes
) -> None:
    node.hub.fail(Fault(hold_after=0))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    begun: list[Transfer] = []

    async def start() -> None:
        begun.append(await node.transfers.start_pull(PullModel(ref=ref), OWNER))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(start)
    assert len({transfer.id for transfer in begun}) == 1
    node.hub.release()
    assert (await node.end(begun[0].id)).state == "done"
    assert len(node.hub.downloads()) == 1


async def test_a_folder_that_belongs_to_no_pull_is_deleted_at_the_start(
    root: Path, starter: Path
) -> None:
    for id, text in (("pull-1", None), ("pull-2", "{nonsense")):
        files = Home(root).partial / id / "files"
        files.mkdir(parents=True)
        (files / "t.gguf").write_bytes(b"GGUF")
        if text:
            (files.parent / "pull.json").write_text(text)
    async with (
        opened(root, starter) as place,
        open_transfers(place.home, Settings(), place.library, place.events) as transfers,
    ):
        assert await transfers.list() == []
        assert list(place.home.partial.iterdir()) == []


async def test_a_discarded_pull_leaves_nothing(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(hold_after=1_500_000))
    begun = await node.transfers.start_pull(
        PullModel(ref=node.hub.put("ann/tiny", "t.gguf", data)), OWNER
    )
    await node.until(begun.id, 1_000_000)
    await node.transfers.forget(begun.id)
    assert node.partials() == []
    assert await node.transfers.list() == []


async def test_two_run_and_the_others_wait_up_to_a_bound(node: Pulling, data: bytes) -> None:
    node.hub.fail(*[Fault(hold_after=0)] * 2)
    refs = [node.hub.put("ann/tiny", f"t{n}.gguf", data) for n in range(33)]
    begun = [await node.transfers.start_pull(PullModel(ref=ref), OWNER) for ref in refs[:32]]
    with pytest.raises(TooMany):
        await node.transfers.start_pull(PullModel(ref=refs[32]), OWNER)
    with trio.fail_after(10):
        await trio.to_thread.run_sync(node.hub.held.wait, 10)
    states = [t.state for t in await node.transfers.list()]
    assert states.count("running") == 2
    assert states.count("waiting") == 30
    assert (await node.transfers.stop(begun[20].id)).state == "stopped"


async def test_a_database_that_refuses_costs_no_byte(
    node: Pulling, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = node.hub.put("ann/tiny", "t.gguf", data)

    async def full(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise StoreFull("no space left for state.db: free some space")

    with monkeypatch.context() as patch:
        patch.setattr(node.place.library, "insert", full)
        failed = await node.pull(ref)
    assert failed.state == "failed"
    assert "no space left for state.db" in failed.message
    done = await node.pull(ref)
    assert (done.state, done.model) == ("done", "t")
    assert node.hub.body_bytes() == len(data)
    await node.place.library.check(await node.place.library.find("t"))
    assert list(node.place.home.partial.iterdir()) == []


async def test_a_name_that_is_taken_meanwhile_does_not_cost_the_download(
    node: Pulling, data: bytes, tmp_path: Path
) -> None:
    node.hub.fail(Fault(hold_after=1_000_000))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    begun = await node.transfers.start_pull(PullModel(ref=ref, name="mine"), OWNER)
    with trio.fail_after(10):
        await trio.to_thread.run_sync(node.hub.held.wait, 10)
    await node.place.library.add(tiny_llama(tmp_path / "x.gguf"), name="mine")
    node.hub.release()
    assert (await node.end(begun.id)).model == "mine-2"


async def test_nothing_of_a_pull_is_shown_before_it_is_whole(node: Pulling, data: bytes) -> None:
    node.hub.fail(Fault(hold_after=2_000_000))
    ref = node.hub.put("ann/tiny", "t.gguf", data)
    begun = await node.transfers.start_pull(PullModel(ref=ref), OWNER)
    await node.until(begun.id, 1_000_000)
    assert list(node.place.home.models.iterdir()) == []
    assert [m.name for m in await node.place.library.list()] == ["starter"]
