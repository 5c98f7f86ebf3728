"""The one entry for a file that may be a model: what is it, is it sound, what does it say."""

from pathlib import Path
from typing import Final

import msgspec

from models.errors import BadModel
from models.facts import ModelFacts, facts_of_gguf
from models.gguf import GgufHeader, read_header
from models.gguf_meaning import check_meaning
from models.onnxfile import read_onnx
from models.sniff import Format, sniff
from models.split import read_parts

__all__ = ["BadModel", "Format", "ModelFacts", "check_file", "check_model", "sniff"]

_CONVERT: Final = "Convert it to GGUF or ONNX, or take the model in one of these formats"
_REFUSALS: Final = {
    Format.PICKLE: ("it is a Python pickle, and loading one can run any code in it", _CONVERT),
    Format.KERAS: ("it is a Keras or HDF5 file, and loading one can run code in it", _CONVERT),
    Format.SAFETENSORS: ("safetensors holds weights only and is not served directly", _CONVERT),
    Format.OLD_GGML: ("it is in a GGML format from before GGUF", "Convert it to GGUF"),
    Format.OTHER_RUNTIME: ("its format is for another runtime", _CONVERT),
    Format.ARCHIVE: ("it is an archive", "Unpack it and add the GGUF or ONNX file that it holds"),
    Format.LFS_POINTER: (
        "it is only Git LFS's pointer to the model",
        "Fetch the real file with: git lfs pull",
    ),
    Format.WEB_PAGE: (
        "it is a web page",
        "Take the address of the file itself; some sites ask for a login first",
    ),
    Format.FOLDER: ("it is a folder without a model", "Give a GGUF file or an ONNX folder"),
    Format.EMPTY: ("it is empty", "Download it again"),
    Format.UNKNOWN: ("its first bytes are those of no known model format", _CONVERT),
}


def check_file(path: Path) -> ModelFacts:
    """Check one file (or an ONNX folder) and return what it says about itself.

    Nothing native runs, nothing is loaded. Of a split GGUF file only this part is checked.
    Raises BadModel, whose text says what, why, and what to do.
    """
    kind = sniff(path)
    if kind is Format.GGUF:
        return facts_of_gguf(_read_gguf(path))
    if kind is Format.ONNX:
        return read_onnx(path).facts
    raise BadModel(*_REFUSALS[kind]).named(path)


def check_model(path: Path) -> ModelFacts:
    """Check a whole model: like `check_file`, and every part of a split GGUF file.

    The facts are those of the first part, with the sizes of all. Raises BadModel.
    """
    if sniff(path) is not Format.GGUF:
        return check_file(path)
    parts = read_parts(path, _read_gguf(path))
    facts = facts_of_gguf(parts[0][1])
    if len(parts) == 1:
        return facts
    headers = [header for _, header in parts]
    return msgspec.structs.replace(
        facts,
        size_bytes=sum(header.size_bytes for header in headers),
        parameters=sum(header.parameters for header in headers),
        quantisation=_largest_quantisation(headers),
    )


def _read_gguf(path: Path) -> GgufHeader:
    header = read_header(path)
    try:
        check_meaning(header)
    except BadModel as error:
        raise error.named(path) from None
    return header


def _largest_quantisation(headers: list[GgufHeader]) -> str | None:
    """The quantisation of the part that holds most weights: the first may hold none."""
    largest = max(headers, key=lambda header: sum(header.bytes_by_type.values()))
    return facts_of_gguf(largest).quantisation
