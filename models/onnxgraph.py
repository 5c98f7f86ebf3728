"""What an ONNX file holds, without its weights: inputs, outputs, operators, external data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from models.errors import BadModel, shown
from models.protobuf import BYTES, VARINT, Field, Walker

MAX_DEPTH: Final = 48  # messages inside messages; a subgraph takes three
MAX_TEXT: Final = 4096
MAX_DIMENSIONS: Final = 64
MAX_EXTERNAL: Final = 1 << 16
# Message types by field, for the walk to every tensor, graph and operator, wherever it hides.
_SCHEMA: Final[Mapping[str, Mapping[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 11: "input", 12: "output", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
    "input": {2: "type"},
    "output": {2: "type"},
    "type": {1: "tensor_type"},
    "tensor_type": {2: "shape"},
    "shape": {1: "dimension"},
    "dimension": {},
}
_MAIN_PARTS: Final = ("graph", "input", "output")
_NO_LENGTH: Final = 1 << 63  # negative, or not given: this dimension may vary
# Bits per element of a tensor's data type; strings (8) cannot be external.
ELEMENT_BITS: Final[Mapping[int, int]] = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64,
    15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2, 27: 6, 28: 6,
}  # fmt: skip
# Messages that belong once into another. Protobuf would merge a second one with the first.
_SINGULAR: Final = frozenset(
    {("model", 7), ("attribute", 5), ("attribute", 6), ("attribute", 22), ("sparse", 1)}
    | {("sparse", 2), ("input", 2), ("output", 2), ("type", 1), ("tensor_type", 2)}
)


@dataclass(frozen=True)
class Port:
    """An input or output: a fixed length is a number, one that may vary is None."""

    name: str
    element_type: int
    dims: tuple[int | None, ...]


@dataclass(frozen=True)
class External:
    """A tensor's data in another file, as the model file claims it."""

    tensor: str
    entries: tuple[tuple[str, str], ...]
    size: int | None  # bytes that the tensor's shape asks for


@dataclass
class Graph:
    """What the walk has found."""

    ir_version: int | None = None
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    operators: set[tuple[str, str]] = field(default_factory=set)  # (domain, name) of every node
    functions: set[tuple[str, str]] = field(default_factory=set)  # ... of functions defined here
    external: list[External] = field(default_factory=list)
    parameters: int = 0
    bits_by_type: dict[int, int] = field(default_factory=dict)


@dataclass
class _Frame:
    """What is known of one message when its last field has been read."""

    texts: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    dims: list[int] = field(default_factory=list)
    entries: list[tuple[str, str]] = field(default_factory=list)
    shape: list[int | None] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)  # fields of _SINGULAR


# Fields that are kept, by message: texts, single numbers.
_TEXTS: Final[Mapping[str, frozenset[int]]] = {
    "node": frozenset({4, 7}),
    "function": frozenset({1, 10}),
    "tensor": frozenset({8}),
    "entry": frozenset({1, 2}),
    "input": frozenset({1}),
    "output": frozenset({1}),
}
_NUMBERS: Final[Mapping[str, frozenset[int]]] = {
    "model": frozenset({1}),
    "tensor": frozenset({2, 14}),
    "tensor_type": frozenset({1}),
    "dimension": frozenset({1}),
}


class GraphReader:
    """Walks a whole model file once and gathers a `Graph`; raises BadModel."""

    def __init__(self, walker: Walker) -> None:
        self._walker = walker
        self.graph = Graph()

    def read(self, size: int) -> Graph:
        """Read the model message that fills the file."""
        frame = self._message("model", size, depth=0, parent=_Frame(), main=True)
        self.graph.ir_version = frame.numbers.get(1)
        if 7 not in frame.seen:
            raise BadModel("it holds no graph", "Check that it is an ONNX model file")
        return self.graph

    def _message(self, kind: str, end: int, depth: int, parent: _Frame, main: bool) -> _Frame:
        """Read one message; `main` for the model, its graph, and what lies directly in that."""
        if depth > MAX_DEPTH:
            raise BadModel(f"its graphs are nested more than {MAX_DEPTH} messages deep")
        frame, inner = _Frame(), _SCHEMA[kind]
        for item in self._walker.fields(end):
            child = inner.get(item.number) if item.wire == BYTES else None
            if child is None:
                self._keep(kind, item, frame)
                continue
            if (kind, item.number) in _SINGULAR and item.number in frame.seen:
                raise BadModel(f"a {kind} in it holds two of a part that belongs there once")
            frame.seen.add(item.number)
            stop = self._walker.position + item.value
            self._message(child, stop, depth + 1, frame, main and child in _MAIN_PARTS)
        self._close(kind, frame, parent, main)
        return frame

    def _keep(self, kind: str, item: Field, frame: _Frame) -> None:
        if item.wire == BYTES and item.number in _TEXTS.get(kind, ()):
            text = self._walker.text(item, MAX_TEXT, f"a text in a {kind}")
            if item.number in frame.texts:
                raise BadModel(f"a {kind} has two texts where one belongs")
            frame.texts[item.number] = text
        elif item.wire == VARINT and item.number in _NUMBERS.get(kind, ()):
            frame.numbers[item.number] = item.value
        elif kind == "tensor" and item.number == 1 and item.wire in (VARINT, BYTES):
            frame.dims += self._walker.packed(item, MAX_DIMENSIONS)
            if len(frame.dims) > MAX_DIMENSIONS:
                raise BadModel(f"a tensor has more than {MAX_DIMENSIONS} dimensions")

    def _close(self, kind: str, frame: _Frame, parent: _Frame, main: bool) -> None:
        """A message has been read to its end: tell the parent or the result what it was."""
        match kind:
            case "node":
                operator = (frame.texts.get(7, ""), frame.texts.get(4, ""))
                self.graph.operators.add(operator)
            case "function":
                self.graph.functions.add((frame.texts.get(10, ""), frame.texts.get(1, "")))
            case "entry":
                parent.entries.append((frame.texts.get(1, ""), frame.texts.get(2, "")))
            case "tensor":
                self._close_tensor(frame)
            case "dimension":
                length = frame.numbers.get(1, _NO_LENGTH)
                parent.shape.append(length if length < _NO_LENGTH else None)
            case "shape":
                parent.shape = frame.shape
            case "tensor_type" | "type":
                parent.shape = frame.shape
                parent.numbers.update(frame.numbers)
            case "input" | "output" if main:
                self._close_port(kind, frame)

    def _close_port(self, kind: str, frame: _Frame) -> None:
        ports = self.graph.inputs if kind == "input" else self.graph.outputs
        ports.append(Port(frame.texts.get(1, ""), frame.numbers.get(1, 0), tuple(frame.shape)))

    def _close_tensor(self, frame: _Frame) -> None:
        name, kind = frame.texts.get(8, ""), frame.numbers.get(2, 0)
        elements = 1
        for length in frame.dims:
            elements *= length
            if elements >= 1 << 48:
                raise BadModel(f"the tensor {shown(name)} has an impossible shape")
        bits = ELEMENT_BITS.get(kind, 0)
        self.graph.parameters += elements
        self.graph.bits_by_type[kind] = self.graph.bits_by_type.get(kind, 0) + elements * bits
        if not frame.entries and frame.numbers.get(14, 0) != 1:
            return
        if len(self.graph.external) >= MAX_EXTERNAL:
            raise BadModel(f"it has more than {MAX_EXTERNAL:,} tensors in other files")
        size = (elements * bits + 7) // 8 if bits else None
        self.graph.external.append(External(name, tuple(frame.entries), size))
