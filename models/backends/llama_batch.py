"""A `llama_batch` over numpy memory: filled by slices, never item by item through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Batch:
    """Room for `rows` tokens. The caller checks that what it adds fits."""

    def __init__(self, lib: Any, rows: int) -> None:
        self._token = np.zeros(rows, np.int32)
        self._position = np.zeros(rows, np.int32)
        self._slot = np.zeros(rows, np.int32)
        self._slots_of_row = np.ones(rows, np.int32)
        self._out = np.zeros(rows, np.int8)
        # seq_id[i] points at the slot of row i: written once, since the memory stays where it is.
        self._slot_pointers = self._slot.ctypes.data + 4 * np.arange(rows, dtype=np.uint64)
        self.native = lib.llama_batch()
        self.native.token = _pointer(self._token, ctypes.c_int32)
        self.native.embd = None
        self.native.pos = _pointer(self._position, ctypes.c_int32)
        self.native.n_seq_id = _pointer(self._slots_of_row, ctypes.c_int32)
        self.native.seq_id = ctypes.cast(
            self._slot_pointers.ctypes.data, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))
        )
        self.native.logits = _pointer(self._out, ctypes.c_int8)
        self.clear()

    def clear(self) -> None:
        self.used = 0
        self.native.n_tokens = 0

    def add(
        self, slot: int, start: int, tokens: Sequence[int], *, out: bool, every: bool = False
    ) -> int:
        """Add tokens of one slot; returns the row of the last. `every`: an output for each row."""
        begin, end = self.used, self.used + len(tokens)
        self._token[begin:end] = tokens
        self._position[begin:end] = np.arange(start, start + len(tokens), dtype=np.int32)
        self._slot[begin:end] = slot
        self._out[begin:end] = every
        if out:
            self._out[end - 1] = 1
        self.used = self.native.n_tokens = end
        return end - 1


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
