"""Adopting from folders laid out as other programs lay them out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from node.config import Settings
from node.content import AddFailed, Transfers, open_transfers
from protocols.http.control import AdoptedModel, AdoptModels, Transfer
from tests.node.content.child import OWNER
from tests.node.content.conftest import Place
from tests.support.gguf_maker import llama_file, split, tiny_llama


def ollama(root: Path, model: str, tag: str, data: bytes, owner: str = "library") -> Path:
    """One model in Ollama's folder."""
    digest = hashlib.sha256(data).hexdigest()
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    blob = root / "blobs" / f"sha256-{digest}"
    blob.write_bytes(data)
    manifest = root / "manifests" / "registry.ollama.ai" / owner / model / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(data)},
        {"mediaType": "application/vnd.ollama.image.params", "digest": "sha256:" + "0" * 64, "size": 9},
    ]  # fmt: skip
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def hugging_face(root: Path, repo: str, revision: str, files: dict[str, bytes]) -> Path:
    """One snapshot in the Hugging Face cache: links to blobs."""
    base = root / f"models--{repo.replace('/', '--')}"
    (base / "blobs").mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        blob = base / "blobs" / hashlib.sha256(data).hexdigest()
        blob.write_bytes(data)
        link = base / "snapshots" / revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * (len(Path(name).parts) + 1)
        link.symlink_to(f"{up}blobs/{blob.name}")
    return base


def disk_use(folder: Path) -> dict[Path, tuple[int, int]]:
    """Inode and blocks of every file below."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path: (path.stat().st_ino, path.stat().st_blocks) for path in files}


def told(result: AdoptedModel) -> tuple[str, str, str]:
    return result.name, result.source, result.state


@pytest.fixture
def user(tmp_path: Path) -> Path:
    user = tmp_path / "user"
    user.mkdir()
    return user


async def look(place: Place, user: Path, **what: object) -> list[AdoptedModel]:
    """What is told of the models below `user`, when everything that was begun is done."""
    async with open_transfers(place.home, Settings(), place.library, place.events) as transfers:
        asked = AdoptModels(**what)  # type: ignore[arg-type]
        found = await transfers.adopt(asked, OWNER, env={}, user=user)
        for result in found.models:
            if result.state == "adding":
                assert (await end_of(transfers, result.transfer)).state == "done"
    return [result for result in found.models if str(user) in result.path]


async def end_of(transfers: Transfers, id: str) -> Transfer:
    async with transfers.watch(id) as channel:
        states = [state async for state in channel]
    return states[-1]


async def test_models_of_all_programs_are_found_and_no_byte_is_copied(
    place: Place, user: Path
) -> None:
    ollama(user / ".ollama/models", "llama3.2", "1b", llama_file(seed=21).to_bytes())
    ollama(user / ".ollama/models", "mine", "latest", llama_file(seed=2).to_bytes(), "ann")
    cache = user / ".cache/huggingface/hub"
    hugging_face(cache, "ann/tiny", "abc", {"q8/Tiny.Q8_0.gguf": llama_file(seed=3).to_bytes()})
    tiny_llama(user / ".lmstudio/models/ann/repo/Studio.gguf", seed=4)
    tiny_llama(user / ".cache/lm-studio/models/ann/repo/Old.gguf", seed=5)
    theirs, ours = disk_use(user), disk_use(place.home.models)
    results = await look(place, user)
    assert [told(result) for result in results] == [
        ("mine", "ollama", "adding"),
        ("llama3.2-1b", "ollama", "adding"),
        ("tiny.q8_0", "huggingface", "adding"),
        ("studio", "lmstudio", "adding"),
        ("old", "lmstudio", "adding"),
    ]
    assert disk_use(user) == theirs
    assert disk_use(place.home.models) == ours == {}
    for name in ("mine", "tiny.q8_0", "studio", "old"):
        model = await place.library.find(name)
        assert model.storage == "reference"
        await place.library.check(model)


async def test_adopting_again_finds_everything_known(place: Place, user: Path) -> None:
    ollama(user / ".ollama/models", "m", "latest", llama_file(seed=6).to_bytes())
    first = await look(place, user)
    again = await look(place, user)
    assert [told(r) for r in first + again] == [("m", "ollama", "adding"), ("m", "ollama", "known")]
    assert again[0].size == first[0].size > 0


async def test_a_dry_run_changes_nothing(place: Place, user: Path) -> None:
    ollama(user / ".ollama/models", "m", "latest", llama_file(seed=6).to_bytes())
    assert [told(r) for r in await look(place, user, dry_run=True)] == [("m", "ollama", "found")]
    assert [m.name for m in await place.library.list()] == ["starter"]
    await look(place, user)
    assert [told(r) for r in await look(place, user, dry_run=True)] == [("m", "ollama", "known")]


async def test_only_the_program_that_was_asked_for_is_looked_at(place: Place, user: Path) -> None:
    ollama(user / ".ollama/models", "m", "latest", llama_file(seed=6).to_bytes())
    tiny_llama(user / ".lmstudio/models/ann/repo/studio.gguf", seed=7)
    results = await look(place, user, source="lmstudio")
    assert [told(r) for r in results] == [("studio", "lmstudio", "adding")]


async def test_revisions_that_share_a_blob_are_one_model(place: Place, user: Path) -> None:
    cache = user / ".cache/huggingface/hub"
    for revision in ("abc", "def"):
        hugging_face(cache, "ann/tiny", revision, {"t.gguf": llama_file(seed=8).to_bytes()})
    assert [told(r) for r in await look(place, user)] == [("t", "huggingface", "adding")]
    assert (await place.library.find("t")).source == "hf:ann/tiny/t.gguf"


async def test_a_split_model_is_one_model(place: Place, user: Path, tmp_path: Path) -> None:
    parts = split(llama_file(seed=9), tmp_path / "parts", "big", 3)
    cache = user / ".cache/huggingface/hub"
    hugging_face(cache, "ann/big", "abc", {p.name: p.read_bytes() for p in parts})
    assert [told(r) for r in await look(place, user)] == [("big", "huggingface", "adding")]
    assert len((await place.library.find("big")).files) == 3


async def test_any_folder_may_be_given(place: Place, user: Path, tmp_path: Path) -> None:
    folder = tmp_path / "user" / "elsewhere"
    ollama(folder / "o", "m", "latest", llama_file(seed=6).to_bytes())
    hugging_face(folder / "h", "ann/tiny", "abc", {"t.gguf": llama_file(seed=8).to_bytes()})
    tiny_llama(folder / "p" / "plain.gguf", seed=12)
    for part, name in (("o", "m"), ("h", "t"), ("p", "plain")):
        (result,) = await look(place, user, folder=str(folder / part))
        assert (result.name, result.state) == (name, "adding")
    async with open_transfers(place.home, Settings(), place.library, place.events) as transfers:
        for wrong in ("relative", str(folder / "absent")):
            with pytest.raises(AddFailed):
                await transfers.adopt(AdoptModels(folder=wrong), OWNER)


async def test_the_environment_says_where_to_look(place: Place, user: Path, tmp_path: Path) -> None:
    ollama(tmp_path / "o", "m", "latest", llama_file(seed=6).to_bytes())
    hugging_face(tmp_path / "h/hub", "ann/tiny", "abc", {"t.gguf": llama_file(seed=8).to_bytes()})
    env = {"OLLAMA_MODELS": str(tmp_path / "o"), "HF_HOME": str(tmp_path / "h")}
    async with open_transfers(place.home, Settings(), place.library, place.events) as transfers:
        found = await transfers.adopt(AdoptModels(dry_run=True), OWNER, env=env, user=user)
    assert {r.name for r in found.models if str(tmp_path) in r.path} == {"m", "t"}


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"not json", "manifest cannot be used"),
        (b"[" * 100_000, "manifest cannot be used"),
        (b"{}", "names 0 files with weights"),
        (b'{"layers": 5}', "names 0 files with weights"),
        (b"x" * 2_000_000, "larger than"),
        (
            b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../x"}]}',
            "no sha256",
        ),
        (
            b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:'
            + b"a" * 64
            + b'"}]}',
            "not whole",
        ),
    ],
    ids=range(7),
)
async def test_a_hostile_manifest_is_refused_with_its_reason(
    place: Place, user: Path, manifest: bytes, why: str
) -> None:
    root = user / ".ollama/models"
    ollama(root, "m", "latest", llama_file(seed=6).to_bytes())
    (root / "manifests/registry.ollama.ai/library/m/latest").write_bytes(manifest)
    (result,) = await look(place, user)
    assert result.state == "refused"
    assert why in result.reason


async def test_what_is_no_model_is_listed_with_the_reason(place: Place, user: Path) -> None:
    folder = user / ".lmstudio/models/ann/repo"
    tiny_llama(folder / "good.gguf", seed=13)
    (folder / "bad.gguf").write_bytes(b"GGUF")
    (folder / "gone.gguf").symlink_to("absent.gguf")
    results = {result.name: result for result in await look(place, user)}
    assert {name: r.state for name, r in results.items()} == {
        "good": "adding",
        "bad": "refused",
        "gone": "refused",
    }
    assert all(r.reason for r in results.values() if r.state == "refused")


async def test_a_model_that_its_program_deleted_is_missing_and_says_so(
    place: Place, user: Path
) -> None:
    blob = ollama(user / ".ollama/models", "m", "latest", llama_file(seed=6).to_bytes())
    await look(place, user)
    blob.unlink()
    assert (await place.library.find("m")).missing
    assert await place.library.remove("m") == 0


async def test_however_many_there_are_each_file_is_one_transfer(place: Place, user: Path) -> None:
    for number in range(40):
        tiny_llama(user / f".lmstudio/models/ann/repo/m{number:02d}.gguf", seed=number + 50)
    same = llama_file(seed=99).to_bytes()
    for tag in ("1b", "latest"):
        ollama(user / ".ollama/models", "m", tag, same)
    async with open_transfers(place.home, Settings(), place.library, place.events) as transfers:
        first = (await transfers.adopt(AdoptModels(), OWNER, env={}, user=user)).models
        again = (await transfers.adopt(AdoptModels(), OWNER, env={}, user=user)).models
        assert [m.state for m in first] == ["adding"] * 42
        ids = {m.path: m.transfer for m in first}
        assert len(ids) == len(set(ids.values())) == 41
        for model in (*first, *again):
            if model.transfer:
                assert (await end_of(transfers, model.transfer)).state == "done"
    assert len(await place.library.list()) == 42


async def test_a_model_that_changes_while_it_is_adopted_fails_alone(
    place: Place, user: Path
) -> None:
    folder = user / ".lmstudio/models/ann/repo"
    bad, good = tiny_llama(folder / "bad.gguf", seed=60), tiny_llama(folder / "good.gguf", seed=61)
    async with open_transfers(place.home, Settings(), place.library, place.events) as transfers:
        seen = (await transfers.adopt(AdoptModels(), OWNER, env={}, user=user)).models
        bad.unlink()  # before the first transfer has its turn
        ends = {m.path: await end_of(transfers, m.transfer) for m in seen}
    assert ends[str(bad)].state == "failed"
    assert ends[str(bad)].message
    assert ends[str(good)].state == "done"
