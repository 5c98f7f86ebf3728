"""Models in several GGUF files: found whole, or the missing and wrong parts are named."""

from pathlib import Path

import pytest

from models.errors import BadModel
from models.formats import check_file, check_model
from models.gguf import read_header
from models.split import split_siblings
from tests.support.gguf_maker import I32, U16, Shape, llama_file, split

FILE = llama_file(shape=Shape(dim=32, blocks=2, heads=2, kv_heads=1, feed_forward=32))


def test_all_parts_are_found_from_any_of_them(tmp_path: Path) -> None:
    paths = split(FILE, tmp_path, "m", 3)
    whole = FILE.write(tmp_path / "whole.gguf")
    for path in paths:
        assert split_siblings(path, read_header(path)) == paths
        facts = check_model(path)
        assert facts.parameters == check_file(whole).parameters
        assert facts.size_bytes == sum(part.stat().st_size for part in paths)
        assert facts.architecture == "llama"


def test_one_part_alone_is_checked_and_says_which_it_is(tmp_path: Path) -> None:
    paths = split(FILE, tmp_path, "m", 3)
    for path in paths[1:]:
        path.rename(tmp_path / "away" if path is paths[2] else path)
    facts = check_file(paths[1])
    assert facts.split == (2, 3)
    assert facts.architecture is None


def test_a_whole_file_is_its_only_part(tmp_path: Path) -> None:
    path = FILE.write(tmp_path / "whole.gguf")
    assert split_siblings(path, read_header(path)) == [path]


def test_missing_parts_are_named(tmp_path: Path) -> None:
    paths = split(FILE, tmp_path, "m", 4)
    paths[1].unlink()
    paths[3].unlink()
    with pytest.raises(BadModel, match=r"m-00002-of-00004\.gguf, m-00004-of-00004\.gguf"):
        check_model(paths[0])


def test_a_renamed_part_is_told_its_own_name(tmp_path: Path) -> None:
    paths = split(FILE, tmp_path, "m", 2)
    with pytest.raises(BadModel, match=r"NAME-00001-of-00002\.gguf"):
        check_model(paths[0].rename(tmp_path / "model.gguf"))


def test_parts_of_different_models_do_not_mix(tmp_path: Path) -> None:
    paths = split(FILE, tmp_path, "m", 2)
    FILE.with_value("split.no", U16, 1).with_value("split.count", U16, 2).write(paths[1])
    with pytest.raises(BadModel, match="also in an earlier part"):
        check_model(paths[0])
    FILE.write(paths[1])
    with pytest.raises(BadModel, match="not the part that its name says"):
        check_model(paths[0])


def test_a_wrong_number_of_tensors_is_refused(tmp_path: Path) -> None:
    paths = split(FILE, tmp_path, "m", 2)
    part = FILE.with_value("split.no", U16, 0).with_value("split.count", U16, 2)
    half = type(part)(part.metadata, part.tensors[: len(part.tensors) // 2])
    half.with_value("split.tensors.count", I32, 999).write(paths[0])
    with pytest.raises(BadModel, match="promises 999 tensors"):
        check_model(paths[0])


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    paths = split(FILE, tmp_path, "m", 2)
    paths[1].write_bytes(paths[1].read_bytes()[:-500])
    with pytest.raises(BadModel, match=r"m-00002-of-00002\.gguf is not .* cut off"):
        check_model(paths[0])
