"""What kind of file this is, by its first bytes, and by its name where bytes do not tell."""

import re
from enum import Enum
from pathlib import Path
from typing import Final

from models.reading import open_regular, os_error, read_exactly

_HEAD_BYTES: Final = 1 << 16


class Format(Enum):
    """The kinds of files that are told apart; only the first two can be models here."""

    GGUF = "gguf"
    ONNX = "onnx"
    PICKLE = "pickle"
    KERAS = "keras"
    SAFETENSORS = "safetensors"
    OLD_GGML = "old ggml"
    OTHER_RUNTIME = "other runtime"
    ARCHIVE = "archive"
    LFS_POINTER = "lfs pointer"
    WEB_PAGE = "web page"
    FOLDER = "folder"
    EMPTY = "empty"
    UNKNOWN = "unknown"


_OLD_GGML: Final = (b"lmgg", b"fmgg", b"tjgg", b"algg")
_COMPRESSED: Final = (
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c",
)
# Protocol 2 and later say so; older ones begin with a mark, or by naming a module and a function.
_PICKLE: Final = re.compile(
    rb"\x80[\x02-\x05]|c[\w.]+\n[\w.]+\n|\((?:[ld]p\d|[ic][\w.]+\n|S'|V|\x63)|[\]}]q\x00"
)
# A model message begins with its version (field 1), then the producer or another low field.
_ONNX: Final = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x2a\x32\x3a\x42]")
_BY_SUFFIX: Final = {
    ".pt": Format.PICKLE,
    ".pth": Format.PICKLE,
    ".bin": Format.PICKLE,
    ".ckpt": Format.PICKLE,
    ".pkl": Format.PICKLE,
    ".pickle": Format.PICKLE,
    ".joblib": Format.PICKLE,
    ".dill": Format.PICKLE,
    ".npy": Format.PICKLE,
    ".npz": Format.PICKLE,
    ".h5": Format.KERAS,
    ".hdf5": Format.KERAS,
    ".keras": Format.KERAS,
    ".safetensors": Format.SAFETENSORS,
    ".gguf": Format.GGUF,
    ".onnx": Format.ONNX,
    ".ort": Format.OTHER_RUNTIME,
    ".tflite": Format.OTHER_RUNTIME,
    ".mlmodel": Format.OTHER_RUNTIME,
    ".mlpackage": Format.OTHER_RUNTIME,
    ".engine": Format.OTHER_RUNTIME,
}


def sniff(path: Path) -> Format:
    """The kind of the file or folder at `path`.

    Raises BadModel when it cannot be opened, or is a pipe, a socket or a device.
    """
    try:
        if path.is_dir():
            return _sniff_folder(path)
    except OSError as error:
        raise os_error(error, path) from error
    with open_regular(path) as (file, size):
        head = read_exactly(file, _HEAD_BYTES)
        file.seek(max(size - _HEAD_BYTES, 0))
        return _sniff_bytes(head, read_exactly(file, _HEAD_BYTES), path.suffix.lower())


def _sniff_folder(path: Path) -> Format:
    holds_onnx = any(path.glob("*.onnx")) or (path / "onnx" / "model.onnx").exists()
    return Format.ONNX if holds_onnx else Format.FOLDER


def _sniff_bytes(head: bytes, tail: bytes, suffix: str) -> Format:
    if not head:
        return Format.EMPTY
    if head.startswith(b"GGUF"):
        return Format.GGUF
    if head.startswith(b"PK\x03\x04"):
        return _sniff_zip(head + tail, suffix)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Format.KERAS
    if head.startswith(b"\x93NUMPY") or _PICKLE.match(head):
        return Format.PICKLE
    if head.startswith(_OLD_GGML):
        return Format.OLD_GGML
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 30:
        return Format.SAFETENSORS
    if head[4:8] == b"TFL3":
        return Format.OTHER_RUNTIME
    return _sniff_text(head) or _by_name(head, suffix)


def _sniff_zip(data: bytes, suffix: str) -> Format:
    if b".pkl" in data or b".npy" in data or _BY_SUFFIX.get(suffix) is Format.PICKLE:
        return Format.PICKLE
    if suffix == ".keras" or b"model.weights.h5" in data:
        return Format.KERAS
    return Format.ARCHIVE


def _sniff_text(head: bytes) -> Format | None:
    if head.startswith(b"version https://git-lfs"):
        return Format.LFS_POINTER
    start = head[:256].lstrip().lower()
    return Format.WEB_PAGE if start.startswith((b"<!doctype", b"<html", b"<?xml")) else None


def _by_name(head: bytes, suffix: str) -> Format:
    """What the name says, where the bytes of all other kinds are excluded."""
    named = _BY_SUFFIX.get(suffix)
    if named is not None:
        return named
    if head.startswith(_COMPRESSED):
        return Format.ARCHIVE
    return Format.ONNX if _ONNX.match(head) else Format.UNKNOWN
