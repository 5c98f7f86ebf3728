"""The library: adding, finding, choosing, checking and removing models."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import trio

from models.errors import BadModel
from node.config import Settings
from node.content import (
    AddFailed,
    BadName,
    ModelChanged,
    ModelMissing,
    NotAllowed,
    UnknownModel,
)
from protocols.unixfs import hash_bytes
from tests.node.content.conftest import Place, opened
from tests.support.gguf_maker import llama_file, split, tiny_llama
from tests.support.onnx_maker import tiny_embedder


def blocks(folder: Path) -> int:
    """Bytes that the files below really take on the disk."""
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())


def cid_of(path: Path) -> str:
    return hash_bytes(path.read_bytes()).cid.text


def rewrite(path: Path) -> None:
    """Change a byte of the weights and leave the length as it is."""
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)


async def test_the_starter_is_there_from_the_first_start(place: Place, starter: Path) -> None:
    (model,) = await place.library.list()
    assert (model.name, model.starter, model.storage) == ("starter", True, "reference")
    assert model.path == starter
    assert model.source == "built in"
    assert model.cid == cid_of(starter)
    assert place.library.default() == "starter"


async def test_a_new_starter_takes_the_place_of_the_old(root: Path, tmp_path: Path) -> None:
    packaged = tiny_llama(tmp_path / "starter.gguf", seed=1)
    async with opened(root, packaged) as place:
        old = await place.library.find("starter")
    tiny_llama(packaged, seed=2)
    async with opened(root, packaged) as place:
        new = await place.library.find("starter")
        assert new.cid != old.cid
        assert len(await place.library.list()) == 1
        await place.library.check(new)


async def test_without_a_packaged_starter_the_library_opens_empty(
    root: Path, tmp_path: Path
) -> None:
    async with opened(root, tmp_path / "absent.gguf") as place:
        assert await place.library.list() == []
        with pytest.raises(UnknownModel):
            await place.library.find("starter")


async def test_add_refers_to_the_file_where_it_is(place: Place, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "My Model (v2).Q8_0.gguf")
    before = blocks(place.home.root)
    model = await place.library.add(path)
    assert model.name == "my-model-v2.q8_0"
    assert (model.path, model.storage, model.label) == (path, "reference", "device")
    assert model.cid == cid_of(path)
    assert model.facts.architecture == "llama"
    assert blocks(place.home.root) - before < 100_000  # rows, not weights
    event = (await place.happened("model.added"))[-1]
    assert event.subject == model.cid
    assert event.facts["source"] == str(path)
    assert (event.facts["storage"], event.facts["asked_by"]) == ("reference", "owner")


async def test_add_with_copy_keeps_a_file_of_its_own(place: Place, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    seen: list[tuple[int, int]] = []
    model = await place.library.add(path, copy=True, progress=lambda *now: seen.append(now))
    assert model.storage == "own"
    assert place.home.models in model.path.parents
    assert model.path.read_bytes() == path.read_bytes()
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    path.unlink()
    await place.library.check(model)
    assert list(place.home.partial.iterdir()) == []


async def test_the_same_bytes_are_known_and_stored_once(place: Place, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "one.gguf")
    other = tmp_path / "two.gguf"
    shutil.copy(path, other)
    first = await place.library.add(path)
    before = blocks(place.home.models)
    again = await place.library.add(other, copy=True, name="another")
    assert again == first
    assert blocks(place.home.models) == before
    assert list(place.home.partial.iterdir()) == []
    assert len(await place.library.list()) == 2


async def test_names_are_made_unique_but_a_chosen_one_must_be_free(
    place: Place, tmp_path: Path
) -> None:
    first = await place.library.add(tiny_llama(tmp_path / "a" / "m.gguf", seed=3))
    second = await place.library.add(tiny_llama(tmp_path / "b" / "m.gguf", seed=4))
    assert (first.name, second.name) == ("m", "m-2")
    third = tiny_llama(tmp_path / "c" / "m.gguf", seed=5)
    with pytest.raises(BadName, match="already another model named m"):
        await place.library.add(third, name="M")
    with pytest.raises(BadName, match="built-in"):
        await place.library.add(third, name="starter")
    assert (await place.library.add(third, name="Third")).name == "third"


async def test_a_file_named_like_the_starter_gets_another_name(
    place: Place, tmp_path: Path
) -> None:
    assert (await place.library.add(tiny_llama(tmp_path / "starter.gguf"))).name == "starter-2"


@pytest.mark.parametrize("name", ["a b", "../up", "", "x" * 200, "bafybeigdyrzt5sfp7udm7hu76uh"])
async def test_an_impossible_name_is_refused(place: Place, tmp_path: Path, name: str) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    if name:
        with pytest.raises(BadName):
            await place.library.add(path, name=name)
    else:
        assert (await place.library.add(path, name=name)).name == "m"


async def test_any_part_of_a_split_model_adds_all_of_it(place: Place, tmp_path: Path) -> None:
    parts = split(llama_file(), tmp_path / "parts", "big", 3)
    model = await place.library.add(parts[1])
    assert model.name == "big"
    assert model.path == parts[0]
    assert model.files == tuple(parts)
    assert model.size == sum(part.stat().st_size for part in parts)
    copied = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "parts", copied)
    assert (await place.library.add(copied / parts[2].name, copy=True)).cid == model.cid
    rewrite(parts[2])
    with pytest.raises(ModelChanged):
        await place.library.check(model)


async def test_a_split_model_with_a_missing_part_is_refused(place: Place, tmp_path: Path) -> None:
    parts = split(llama_file(), tmp_path, "big", 3)
    parts[2].unlink()
    with pytest.raises(BadModel, match="parts are missing: big-00003-of"):
        await place.library.add(parts[0])


@pytest.mark.parametrize("nested", [False, True])
async def test_an_onnx_folder_is_one_model_with_all_its_files(
    place: Place, tmp_path: Path, nested: bool
) -> None:
    folder = tiny_embedder(tmp_path / "Tiny Embedder", external="weights.bin", nested=nested)
    model = await place.library.add(folder)
    assert model.name == "tiny-embedder"
    assert (model.kind, model.facts.embedding) == ("onnx", True)
    assert model.path == folder / ("onnx/model.onnx" if nested else "model.onnx")
    assert {"tokenizer.json", "config.json"} <= {part.name for part in model.parts}
    assert "weights.bin" in {path.name for path in model.files}
    copy = tmp_path / "other"
    shutil.copytree(folder, copy)
    assert (await place.library.add(copy)).name == model.name
    await place.library.remove(model.name)
    own = await place.library.add(copy, copy=True)
    assert own.cid == model.cid
    await place.library.check(own)
    with pytest.raises(NotAllowed, match="cannot chat"):
        await place.library.set_default(own.name)
    assert await place.library.remove(own.name) == own.size
    assert list(place.home.models.iterdir()) == []


async def test_what_is_no_model_is_refused_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    for name, data in {"empty.gguf": b"", "cut.gguf": b"GGUF\3", "p.pt": b"\x80\x02}q"}.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(BadModel):
            await place.library.add(path, copy=True)
    with pytest.raises(BadModel, match="does not exist"):
        await place.library.add(tmp_path / "absent.gguf")
    with pytest.raises(AddFailed, match="full path"):
        await place.library.add(Path("m.gguf"))
    with pytest.raises(AddFailed, match="no label"):
        await place.library.add(tiny_llama(tmp_path / "m.gguf"), label="everyone")
    assert list(place.home.partial.iterdir()) == []
    assert len(await place.library.list()) == 1


async def test_models_are_found_by_name_in_any_case_and_by_cid(
    place: Place, tmp_path: Path
) -> None:
    model = await place.library.add(tiny_llama(tmp_path / "Qwen3.gguf"))
    for asked in ("qwen3", "QWEN3", " qwen3 ", model.cid, model.cid[:20], model.cid.upper()):
        assert await place.library.find(asked) == model
    with pytest.raises(UnknownModel) as caught:
        await place.library.find("qwen")
    assert caught.value.nearest == ["qwen3"]
    with pytest.raises(UnknownModel, match="start of several models' CIDs") as caught:
        await place.library.find("bafkrei")
    assert sorted(caught.value.nearest) == ["qwen3", "starter"]
    with pytest.raises(UnknownModel, match="node models list"):
        await place.library.find("")


async def test_a_missing_file_is_told(place: Place, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    model = await place.library.add(path)
    path.unlink()
    assert (await place.library.find("m")).missing
    assert [m.missing for m in await place.library.list()] == [True, False]
    with pytest.raises(ModelMissing, match=r"no longer there.*node models rm m"):
        await place.library.check(model)


async def test_a_changed_file_is_noticed_before_it_is_used(place: Place, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    model = await place.library.add(path)
    await place.library.check(model)
    rewrite(path)
    for _ in range(2):
        with pytest.raises(ModelChanged, match="bytes changed since it was added"):
            await place.library.check(model)
    assert len(await place.happened("model.changed")) == 1


async def test_a_touched_file_is_hashed_again_and_stays(place: Place, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    model = await place.library.add(path)
    os.utime(path, ns=(1, 1))
    await place.library.check(model)
    assert (await place.library.find("m")).parts[0].was.mtime_ns == 1


async def test_a_model_whose_file_went_away_comes_back_with_the_same_bytes(
    place: Place, tmp_path: Path
) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    model = await place.library.add(path)
    moved = path.rename(tmp_path / "moved.gguf")
    again = await place.library.add(moved)
    assert (again.name, again.cid, again.path) == ("m", model.cid, moved)
    await place.library.check(model)


async def test_remove_deletes_only_our_own_files(place: Place, tmp_path: Path) -> None:
    theirs = tiny_llama(tmp_path / "theirs.gguf", seed=7)
    ours = tiny_llama(tmp_path / "ours.gguf", seed=8)
    await place.library.add(theirs)
    own = await place.library.add(ours, copy=True)
    assert await place.library.remove("theirs") == 0
    assert theirs.exists()
    assert await place.library.remove("OURS") == ours.stat().st_size
    assert not own.folder.exists()
    assert [m.name for m in await place.library.list()] == ["starter"]
    with pytest.raises(UnknownModel):
        await place.library.remove("ours")
    assert [e.facts["freed"] for e in await place.happened("model.removed")] == [0, own.size]


async def test_the_starter_cannot_be_removed(place: Place, starter: Path) -> None:
    with pytest.raises(NotAllowed, match="belongs to the program"):
        await place.library.remove("starter")
    assert place.library.peek("starter").unchanged()


async def test_the_default_is_kept_and_falls_back_to_the_starter(
    root: Path, starter: Path, tmp_path: Path
) -> None:
    async with opened(root, starter) as place:
        await place.library.add(tiny_llama(tmp_path / "m.gguf"))
        await place.library.set_default("M")
        assert place.library.default() == "m"
        with pytest.raises(UnknownModel):
            await place.library.set_default("absent")
    async with opened(root, starter) as place:
        assert place.library.default() == "m"
        await place.library.remove("m")
        assert place.library.default() == "starter"
    async with opened(root, starter) as place:
        assert place.library.default() == "starter"


async def test_the_setting_names_the_default_until_somebody_chooses(
    root: Path, starter: Path, tmp_path: Path
) -> None:
    wanted = Settings(serving=type(Settings().serving)(default_model="M"))
    async with opened(root, starter, wanted) as place:
        assert place.library.default() == "starter"
        await place.library.add(tiny_llama(tmp_path / "m.gguf"))
        assert place.library.default() == "m"
        await place.library.set_default("starter")
        assert place.library.default() == "starter"


async def test_everything_is_there_after_a_restart_even_without_the_index(
    root: Path, starter: Path, tmp_path: Path
) -> None:
    async with opened(root, starter) as place:
        await place.library.add(tiny_llama(tmp_path / "gone.gguf", seed=2))
        kept = await place.library.add(tiny_llama(tmp_path / "kept.gguf", seed=3), copy=True)
        before = await place.library.list()
    (tmp_path / "gone.gguf").unlink()
    for file in place.home.data.glob("index.db*"):
        file.unlink()
    async with opened(root, starter) as place:
        after = await place.library.list()
        assert [m.name for m in after] == [m.name for m in before]
        assert (await place.library.find("kept")).facts == kept.facts
        gone = await place.library.find("gone")
        assert gone.missing
        assert gone.facts.size_bytes == gone.size


async def test_a_cancelled_add_leaves_nothing(place: Place, tmp_path: Path) -> None:
    path = tiny_llama(tmp_path / "m.gguf")
    with trio.CancelScope() as scope:
        await place.library.add(
            path, copy=True, progress=lambda *_: trio.from_thread.run_sync(scope.cancel)
        )
    if scope.cancelled_caught:
        assert list(place.home.partial.iterdir()) == []
        assert [m.name for m in await place.library.list()] == ["starter"]
    else:
        pytest.fail("the copy was over before it could be cancelled")


async def test_a_download_that_is_not_whole_cannot_be_added(place: Place) -> None:
    path = tiny_llama(place.home.partial / "x" / "files" / "m.gguf")
    with pytest.raises(AddFailed, match="not whole"):
        await place.library.add(path)
