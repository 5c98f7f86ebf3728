"""A strict reader for the header of a GGUF file: run before native code sees the file.

It reads the header once, forwards, in bounded memory, and believes no number that the file does
not back: counts and lengths are held against fixed limits and against the file's own size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from models.errors import BadModel, shown
from models.gguf_types import TENSOR_TYPES
from models.gguf_values import INT_TYPES, ArrayValue, Value, ValueReader
from models.reading import Cursor, open_regular

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
MAX_KEYS: Final = 4096
MAX_TENSORS: Final = 1 << 16
MAX_NAME_BYTES: Final = 63  # what native code holds
MAX_DIMENSIONS: Final = 4
MAX_ELEMENTS: Final = 1 << 48
MAX_HEADER_BYTES: Final = 256 << 20
DEFAULT_ALIGNMENT: Final = 32
MAX_ALIGNMENT: Final = 1 << 16


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of the file; `offset` counts from the start of the data section."""

    name: str
    dims: tuple[int, ...]
    type: str
    offset: int
    size: int
    elements: int


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says about itself, after every number in it was checked."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    data_offset: int
    size_bytes: int

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def bytes_by_type(self) -> dict[str, int]:
        """How many bytes of the file each tensor type takes."""
        histogram: dict[str, int] = {}
        for tensor in self.tensors:
            histogram[tensor.type] = histogram.get(tensor.type, 0) + tensor.size
        return histogram

    @property
    def architecture(self) -> str | None:
        """The architecture's name; None in the later parts of a split file."""
        return self.text("general.architecture")

    def text(self, key: str) -> str | None:
        """A short string's value, or None."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """A whole number's value, or None."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def array(self, key: str) -> ArrayValue | None:
        """An array's type and length, or None."""
        value = self.metadata.get(key)
        return value if isinstance(value, ArrayValue) else None

    def own(self, name: str) -> str:
        """The full name of a key that belongs to the architecture, such as `block_count`."""
        return f"{self.architecture}.{name}"

    def integers(self, key: str) -> tuple[int, ...]:
        """A whole number or the kept entries of an array of them; empty when there is none."""
        number, array = self.integer(key), self.array(key)
        if number is not None:
            return (number,)
        if array is not None and array.item_type in INT_TYPES and array.items is not None:
            return array.items
        return ()


def read_header(path: Path) -> GgufHeader:
    """Read and check a file's header; raises BadModel that names the file and says what is wrong."""
    with open_regular(path) as (file, size):
        try:
            return parse_header(file, size)
        except BadModel as error:
            raise error.named(path) from None


def parse_header(file: BinaryIO, size: int) -> GgufHeader:
    """Read and check the header of an open file of this size; raises BadModel."""
    if size == 0:
        raise BadModel("it is empty")
    cursor = Cursor(file, size)
    values = ValueReader(cursor)
    version, tensor_count, key_count = _read_start(cursor, values)
    metadata = _read_metadata(cursor, values, key_count)
    alignment = _alignment(metadata)
    tensors = _read_tensors(cursor, values, tensor_count, alignment)
    data_offset = cursor.position + -cursor.position % alignment
    _check_length(tensors, data_offset, size)
    return GgufHeader(version, metadata, tensors, alignment, data_offset, size)


def _read_start(cursor: Cursor, values: ValueReader) -> tuple[int, int, int]:
    if cursor.take(min(4, cursor.size)) != MAGIC:
        raise BadModel("it does not begin like a GGUF file", "Check that it is a model file")
    version = values.u32()
    if version not in VERSIONS:
        raise _wrong_version(version)
    tensor_count, key_count = values.u64(), values.u64()
    if tensor_count > MAX_TENSORS:
        raise BadModel(f"it claims {tensor_count:,} tensors; at most {MAX_TENSORS:,} are allowed")
    if key_count > MAX_KEYS:
        raise BadModel(f"it claims {key_count:,} metadata keys; at most {MAX_KEYS:,} are allowed")
    return version, tensor_count, key_count


def _wrong_version(version: int) -> BadModel:
    if version & 0xFFFF == 0 and version:
        return BadModel("its numbers are big-endian", "Take the little-endian file of this model")
    if version == 1:
        return BadModel("it is in GGUF version 1, which is no longer read", "Convert it anew")
    return BadModel(f"it is in GGUF version {version}, and versions 2 and 3 are known")


def _read_metadata(cursor: Cursor, values: ValueReader, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = values.key()
        if key in metadata:
            raise BadModel(f"the metadata key {key} is there twice")
        metadata[key] = values.value(key)
        _check_header_size(cursor)
    return metadata


def _alignment(metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if isinstance(alignment, bool) or not isinstance(alignment, int):
        raise BadModel("general.alignment is not a whole number")
    if not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise BadModel(f"general.alignment is {alignment}, not a power of two from 8 to 65,536")
    return alignment


def _read_tensors(
    cursor: Cursor, values: ValueReader, count: int, alignment: int
) -> tuple[TensorInfo, ...]:
    tensors: list[TensorInfo] = []
    names: set[str] = set()
    expected = 0
    for _ in range(count):
        tensor = _read_tensor(values)
        if tensor.name in names:
            raise BadModel(f"the tensor {tensor.name} is there twice")
        names.add(tensor.name)
        _check_offset(tensor, expected, alignment)
        expected = tensor.offset + tensor.size + -tensor.size % alignment
        tensors.append(tensor)
        _check_header_size(cursor)
    return tuple(tensors)


def _read_tensor(values: ValueReader) -> TensorInfo:
    raw = values.text("a tensor's name", MAX_NAME_BYTES)
    if not raw or not raw.isascii() or not raw.decode().isprintable():
        raise BadModel(f"a tensor's name is not a plain name: {shown(raw)!r}")
    name, count = raw.decode(), values.u32()
    if not 1 <= count <= MAX_DIMENSIONS:
        raise BadModel(f"the tensor {name} claims {count} dimensions; 1 to 4 are allowed")
    dims = tuple(values.u64() for _ in range(count))
    elements = 1
    for length in dims:
        elements *= length
        if not 0 < elements <= MAX_ELEMENTS:
            raise BadModel(f"the tensor {name} has the impossible shape {dims}")
    number, offset = values.u32(), values.u64()
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        raise BadModel(f"the tensor {name} has the unknown type {number}")
    if dims[0] % kind.elements:
        raise BadModel(f"a row of the tensor {name} does not fill whole blocks of {kind.name}")
    size = elements // kind.elements * kind.bytes
    return TensorInfo(name, dims, kind.name, offset, size, elements)


def _check_offset(tensor: TensorInfo, expected: int, alignment: int) -> None:
    """Tensors must lie one after the other, each at the next aligned place, as native code asks."""
    if tensor.offset == expected:
        return
    if tensor.offset % alignment:
        why = f"lies at {tensor.offset:,}, which is not a multiple of {alignment}"
    elif tensor.offset < expected:
        why = "overlaps the tensor before it"
    else:
        why = f"leaves a gap: it lies at {tensor.offset:,} where {expected:,} was expected"
    raise BadModel(f"the tensor {tensor.name} {why}")


def _check_length(tensors: tuple[TensorInfo, ...], data_offset: int, size: int) -> None:
    if not tensors:
        return
    end = data_offset + tensors[-1].offset + tensors[-1].size
    if end > size:
        raise BadModel(f"it is cut off: {size:,} of {end:,} bytes are there")


def _check_header_size(cursor: Cursor) -> None:
    if cursor.position > MAX_HEADER_BYTES:
        raise BadModel(f"its header is larger than {MAX_HEADER_BYTES:,} bytes")
