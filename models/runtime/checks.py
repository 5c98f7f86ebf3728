"""What a request may ask for. Checked again in the worker: native code aborts on some values."""

from __future__ import annotations

from math import isfinite

import msgspec

from models.backends.base import RequestError
from protocols.jobs import Sampling

MAX_STOPS = 16
MAX_STOP_CHARS = 512
MAX_LOGPROBS = 20
MAX_TOP_K = 1_000_000
SEED_BITS = 64

_RANGES = {
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repeat_penalty": (0.1, 10.0),
    "presence_penalty": (-10.0, 10.0),
    "frequency_penalty": (-10.0, 10.0),
}


USUAL_TEMPERATURE = 0.8
_ADVICE = (0.0, 2.0)


def temperature_in(text: str) -> float | None:
    """The temperature that a model's file recommends; None when it says none that makes sense."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if _ADVICE[0] <= value <= _ADVICE[1] else None


def settle(sampling: Sampling, advice: float | None) -> Sampling:
    """What was left open, decided: by the model's maker, else as usual."""
    if sampling.temperature is not None:
        return sampling
    temperature = USUAL_TEMPERATURE if advice is None else advice
    return msgspec.structs.replace(sampling, temperature=temperature)


def check_sampling(sampling: Sampling) -> None:
    """Raises RequestError('bad_request') naming the first setting that is out of range."""
    for name, (low, high) in _RANGES.items():
        value = getattr(sampling, name)
        if not isfinite(value) or not low <= value <= high:
            raise _bad(f"{name} is {value}, but it must be between {low} and {high}")
    if not 0 <= sampling.top_k <= MAX_TOP_K:
        raise _bad(f"top_k is {sampling.top_k}, but it must be between 0 (all) and {MAX_TOP_K}")
    if sampling.max_tokens is not None and sampling.max_tokens < 0:
        raise _bad(f"max_tokens is {sampling.max_tokens}, but it cannot be negative")
    if sampling.seed is not None and not 0 <= sampling.seed < 2**SEED_BITS:
        raise _bad(f"seed must be a whole number from 0 to 2^{SEED_BITS} - 1")
    if sampling.logprobs is not None and not 0 <= sampling.logprobs <= MAX_LOGPROBS:
        raise _bad(f"logprobs is {sampling.logprobs}, but it must be between 0 and {MAX_LOGPROBS}")
    _check_stop(sampling.stop)
    if sampling.json_schema is not None and sampling.grammar is not None:
        raise _bad("json_schema and grammar cannot be used together; leave one out")


def _check_stop(stop: tuple[str, ...]) -> None:
    if len(stop) > MAX_STOPS:
        raise _bad(f"{len(stop)} stop strings were given, but at most {MAX_STOPS} are allowed")
    for text in stop:
        if not 1 <= len(text) <= MAX_STOP_CHARS:
            raise _bad(f"a stop string must have 1 to {MAX_STOP_CHARS} characters")


def _bad(message: str) -> RequestError:
    return RequestError("bad_request", message)
