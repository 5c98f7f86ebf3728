"""The one entry: formats are told apart by their bytes, and refusals say why and what to do."""

import os
import pickle
import socket
import struct
import zipfile
from pathlib import Path

import pytest

from models.errors import BadModel, shown
from models.formats import Format, check_file, check_model, sniff
from tests.support.gguf_maker import tiny_llama
from tests.support.onnx_maker import tiny_embedder

PICKLES = [pickle.dumps({"a": [os.getpid]}, protocol) for protocol in range(6)]


def refusal(path: Path) -> str:
    with pytest.raises(BadModel) as caught:
        check_file(path)
    text = str(caught.value)
    assert text.startswith(shown(path.name))
    assert text.endswith(".")
    with pytest.raises(BadModel):
        check_model(path)
    return text


def test_models_are_known_by_their_bytes_whatever_they_are_called(tmp_path: Path) -> None:
    gguf = tiny_llama(tmp_path / "sha256-0123")
    onnx = tiny_embedder(tmp_path / "folder")
    assert sniff(gguf) is Format.GGUF
    assert sniff(onnx) is Format.ONNX
    assert sniff(tiny_embedder(tmp_path / "nested", nested=True)) is Format.ONNX
    blob = onnx / "blob"
    blob.write_bytes((onnx / "model.onnx").read_bytes())
    assert sniff(blob) is Format.ONNX
    assert check_file(gguf).kind == "gguf"
    assert check_model(onnx).kind == "onnx"
    assert check_file(blob).kind == "onnx"


@pytest.mark.parametrize("name", ["m.bin", "m", "m.gguf", "m.onnx", "m.safetensors"])
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_refused_under_any_name(tmp_path: Path, name: str, protocol: int) -> None:
    path = tmp_path / name
    path.write_bytes(PICKLES[protocol])
    text = refusal(path)
    assert "pickle" in text
    assert "run any code" in text
    assert "Convert it to GGUF or ONNX" in text


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.bin", "m.ckpt", "m.pkl", "M.PKL", "m.joblib"])
def test_names_of_pickle_formats_are_refused_whatever_they_hold(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x78\x9cunknown bytes")
    assert "pickle" in refusal(path)


@pytest.mark.parametrize("member", ["archive/data.pkl", "arr_0.npy"])
@pytest.mark.parametrize("name", ["m.zip", "m.onnx", "m"])
def test_a_zip_with_a_pickle_is_refused(tmp_path: Path, name: str, member: str) -> None:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("first.bin", b"\0" * 200_000)
        archive.writestr(member, PICKLES[2])
    assert "pickle" in refusal(path)


def safetensors() -> bytes:
    head = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(head)) + head + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("m.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "Keras"),
        ("m.keras", b"PK\x03\x04" + b"\0" * 99, "Keras"),
        ("m.safetensors", safetensors(), "safetensors"),
        ("m", safetensors(), "Convert it to GGUF"),
        ("m.npy", b"\x93NUMPY\x01\0", "pickle"),
        ("m.bin", b"tjgg\x03\0\0\0", "before GGUF"),
        ("m.tflite", b"\x1c\0\0\0TFL3", "another runtime"),
        ("m.ort", b"\x1c\0\0\0ORTM", "another runtime"),
        ("m.zip", b"PK\x03\x04" + b"\0" * 99, "Unpack it"),
        ("m.gz", b"\x1f\x8b\x08" + b"\0" * 99, "Unpack it"),
        ("m.gguf", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("m.gguf", b"\n<!DOCTYPE html><html>", "web page"),
        ("m.gguf", b"<html>", "web page"),
        ("m.gguf", b"not at all", "does not begin like a GGUF file"),
        ("m.gguf", b"GG", "does not begin like a GGUF file"),
        ("m.gguf", b"GGUF", "ends after 4 bytes"),
        ("m.onnx", b"not at all", "not a usable model"),
        ("m.gguf", b"", "empty"),
        ("m.dat", b"not at all", "no known model format"),
    ],
)
def test_other_files_are_refused_with_reason_and_advice(
    tmp_path: Path, name: str, data: bytes, word: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert word in refusal(path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "folder without a model" in refusal(tmp_path)
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"\x08\x09\x12\0")
    assert "several .onnx files" in refusal(tmp_path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "pipe" in refusal(tmp_path / "pipe.gguf")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.gguf"))
        assert "socket" in refusal(tmp_path / "s.gguf")
    assert "device" in refusal(Path("/dev/zero"))
    assert "does not exist" in refusal(tmp_path / "none.gguf")
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    assert "circle" in refusal(tmp_path / "loop.gguf")
    (tmp_path / "file").write_bytes(b"x")
    assert "not a folder" in refusal(tmp_path / "file" / "m.gguf")
    assert "too long" in refusal(tmp_path / ("n" * 300))
    assert refusal(tmp_path / "a\0b.gguf")


def test_a_link_to_a_model_is_a_model(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "blob")
    (tmp_path / "model.gguf").symlink_to("blob")
    assert check_file(tmp_path / "model.gguf").architecture == "llama"


def test_a_name_cannot_drive_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J\nb.gguf"
    path.write_bytes(b"nothing")
    assert refusal(path).isprintable()
