"""A model file and a context over it in llama.cpp, through the low-level interface of llama-cpp-python.

Many mistakes of a caller end the process inside llama.cpp, so everything is checked before: tokens,
positions, the size of a batch, every pointer. ctypes gives a null pointer as an object that is
false, never as None. The package's own `__init__` is stepped around: it imports its server-side
helpers and costs as much time as loading a small model.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import types
from collections import deque
from pathlib import Path
from typing import Any

from models.backends.base import Info, LoadError, StepError
from models.backends.llama_batch import Batch
from models.memory_limits import memory_under_limits
from models.runtime.channel import log
from models.runtime.checks import temperature_in
from models.runtime.crowd import Crowd
from protocols.worker import Load

DEFAULT_CONTEXT = 8192
DEFAULT_EMBED_CONTEXT = 2048
EMBED_TEXTS = 16
BATCH_ROWS = 2048
MICRO_BATCH_ROWS = 512
_PIECE_BYTES = 512
_KV_BYTES = 2  # of one number in the cache: F16
_LOG_WARN, _LOG_ERROR, _LOG_CONTINUED = 3, 4, 5
_NO_MEMORY = ("out of memory", "failed to allocate", "unable to allocate", "cannot allocate")


def _library() -> Any:
    """The ctypes module, without the package around it."""
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise LoadError("llama-cpp-python is not installed; run scripts/start.py to install it")
        package = types.ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["llama_cpp"] = package
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    except (OSError, RuntimeError, ImportError) as error:
        raise LoadError(f"llama.cpp could not be loaded: {error}") from error


class _Log:
    """Keeps llama.cpp's last complaints for error messages; the rest of its output is dropped."""

    def __init__(self, lib: Any) -> None:
        self.lines: deque[str] = deque(maxlen=20)
        self._level = 0
        self._callback = lib.llama_log_callback(self._take)  # must outlive the library's use of it
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _user: object) -> None:
        self._level = level if level != _LOG_CONTINUED else self._level
        line = text.decode("utf-8", "replace").strip()
        if self._level in (_LOG_WARN, _LOG_ERROR) and len(line) > 1:
            self.lines.append(line[:300])
            log(line[:300])

    def why(self) -> str:
        """The first complaint since the log was made: later ones only follow from it."""
        return self.lines[0] if self.lines else "llama.cpp gave no reason"

    @property
    def out_of_memory(self) -> bool:
        return any(words in line.lower() for line in self.lines for words in _NO_MEMORY)


class NativeModel:
    """A model file and one context over it."""

    def __init__(self, load: Load, threads: int) -> None:
        before = _anonymous_bytes()
        self.lib = lib = _library()
        self.log = _Log(lib)
        lib.llama_backend_init()
        self.model = self._open(load)
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.tokens: int = lib.llama_vocab_n_tokens(self.vocab)
        if self.tokens <= 0:
            raise LoadError("the model has no vocabulary, so it cannot read or write text")
        self.ctx = self._context(load, threads)
        self.memory = lib.llama_get_memory(self.ctx)
        self.rows: int = min(lib.llama_n_batch(self.ctx), BATCH_ROWS)
        self.batch = Batch(lib, self.rows)
        # A number of threads that a person chose is kept to.
        self._crowd = None if load.threads else Crowd(threads)
        self._pieces: dict[int, bytes] = {}
        self._buffer = ctypes.create_string_buffer(_PIECE_BYTES)
        self.info = self._info(load, before)

    def _open(self, load: Load) -> Any:
        params = self.lib.llama_model_default_params()
        params.n_gpu_layers = load.gpu_layers if self.lib.llama_supports_gpu_offload() else 0
        model = self.lib.llama_model_load_from_file(str(load.path).encode(), params)
        if not model:
            raise self._error("the model file could not be loaded")
        return model

    def _context(self, load: Load, threads: int) -> Any:
        trained = self.lib.llama_model_n_ctx_train(self.model)
        default = DEFAULT_EMBED_CONTEXT if load.embedding else DEFAULT_CONTEXT
        context = min(load.context or default, trained if trained > 0 else default)
        if 0 < context < load.context:
            log(f"context {load.context} lowered to {context}, which the model was trained for")
        self._wanted = context
        params = self.lib.llama_context_default_params()
        params.n_ctx = context * load.sequences
        params.n_seq_max = load.sequences
        params.n_batch = min(BATCH_ROWS, params.n_ctx)
        params.n_ubatch = min(MICRO_BATCH_ROWS, params.n_batch)
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = False  # each sequence its own memory: measured to be faster
        params.flash_attn_type = self.lib.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.no_perf = True
        if load.embedding:
            self._for_embedding(params, context)
        else:
            self._check_room(params.n_ctx)
        ctx = self.lib.llama_init_from_model(self.model, params)
        if not ctx:
            raise self._error(f"no room for {load.sequences} sequences of {context} tokens")
        return ctx

    def _check_room(self, tokens: int) -> None:
        """Refuse a context that the machine cannot hold: the system would kill the process later."""
        lib, model = self.lib, self.model
        if lib.llama_model_n_swa(model) or lib.llama_model_is_recurrent(model):
            return  # these keep less than a full context
        if lib.llama_model_is_hybrid(model) or lib.llama_supports_gpu_offload():
            return
        heads = max(lib.llama_model_n_head(model), 1)
        width = lib.llama_model_n_embd(model) // heads * lib.llama_model_n_head_kv(model)
        needed = 2 * _KV_BYTES * width * lib.llama_model_n_layer(model) * tokens
        _, free = memory_under_limits(Path("/"))
        if free and needed > free:
            raise LoadError(
                f"a context of {tokens} tokens for all sequences needs {needed >> 20} MiB, and "
                f"{free >> 20} MiB are free; choose a shorter context or fewer sequences",
                out_of_memory=True,
            )

    def _for_embedding(self, params: Any, context: int) -> None:
        """Every text of a batch is a sequence; attention looks both ways, so a batch is not cut."""
        params.embeddings = True
        params.n_seq_max = EMBED_TEXTS
        params.n_ctx = params.n_batch = params.n_ubatch = max(context, MICRO_BATCH_ROWS)
        params.kv_unified = True
        params.pooling_type = self._pooling()

    def _pooling(self) -> int:
        """The model's own way of pooling, else the mean."""
        kind = self._metadata(f"{self._metadata('general.architecture')}.pooling_type")
        pooling = int(kind) if kind.isdecimal() else self.lib.LLAMA_POOLING_TYPE_MEAN
        if pooling == self.lib.LLAMA_POOLING_TYPE_RANK:
            raise LoadError("this model ranks texts; it does not embed them")
        return pooling or int(self.lib.LLAMA_POOLING_TYPE_MEAN)

    def _metadata(self, key: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        size = self.lib.llama_model_meta_val_str(self.model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if size >= 0 else ""

    def _error(self, what: str) -> LoadError:
        return LoadError(f"{what}: {self.log.why()}", out_of_memory=self.log.out_of_memory)

    def _info(self, load: Load, before: int) -> Info:
        size: int = self.lib.llama_model_size(self.model)
        grown = max(_anonymous_bytes() - before, 0)
        context = min(self._wanted, self.lib.llama_n_ctx_seq(self.ctx))
        # Weights are mapped from the file, unless llama.cpp rearranged them into memory of its own.
        memory = grown if grown > size else size + grown
        advice = temperature_in(self._metadata("general.sampling.temp"))
        return Info(self._build(), context, load.sequences, memory, size, advice)

    def _build(self) -> str:
        words = self.lib.llama_print_system_info().decode("utf-8", "replace")
        features = [word.split("=")[0].split(":")[-1].strip() for word in words.split("|")]
        return " ".join(["llama.cpp", _commit(self.lib), *filter(None, features)])

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 16
        found = (ctypes.c_int32 * room)()
        call = self.lib.llama_tokenize
        count = call(self.vocab, raw, len(raw), found, room, start, special)
        if count < 0:
            found = (ctypes.c_int32 * -count)()
            count = call(self.vocab, raw, len(raw), found, -count, start, special)
        return list(found[: max(count, 0)])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        piece = None if special else self._pieces.get(token)
        if piece is None:
            buffer = self._buffer
            to_piece = self.lib.llama_token_to_piece
            size = to_piece(self.vocab, token, buffer, len(buffer), 0, special)
            if size < 0:
                buffer = ctypes.create_string_buffer(-size)
                size = to_piece(self.vocab, token, buffer, len(buffer), 0, special)
            piece = buffer.raw[: max(size, 0)]
            if not special:
                self._pieces[token] = piece
        return piece

    def special_text(self, token: int) -> str:
        """A control token as it is written; empty when there is no such token."""
        if not 0 <= token < self.tokens:
            return ""
        return self.piece(token, special=True).decode("utf-8", "replace")

    def compute(self, what: str) -> None:
        """Run the batch. Raises StepError."""
        crowd = self._crowd
        if crowd is not None and crowd.adapt():
            self.lib.llama_set_n_threads(self.ctx, crowd.threads, crowd.threads)
        status = self.lib.llama_decode(self.ctx, self.batch.native)
        if status != 0:
            raise StepError(f"llama.cpp could not compute {what} (status {status})")

    def close(self) -> None:
        self.lib.llama_free(self.ctx)
        self.lib.llama_model_free(self.model)


def _commit(lib: Any) -> str:
    """The commit of the compute library; the bindings do not name it."""
    folder = Path(lib.__file__).parent / "lib"
    for name in ("libggml-base.so", "libggml-base.dylib"):
        if (folder / name).exists():
            ask = ctypes.CDLL(str(folder / name)).ggml_commit
            ask.restype = ctypes.c_char_p
            return str((ask() or b"unknown").decode("ascii", "replace"))
    return "unknown"


def _anonymous_bytes() -> int:
    """Memory of this process that is not a mapped file; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0
