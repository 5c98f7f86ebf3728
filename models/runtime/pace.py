"""How long the next step will take, learned from the steps before."""

from __future__ import annotations

_ALIVE_STEP_S = 0.25  # a step with running answers in it should not take longer
_ALONE_STEP_S = 1.0  # a step of prompts only: how long a cancel may wait
# Below these a step costs nearly the same with fewer tokens: less is never finished sooner.
_MIN_CHUNK_ALIVE = 64
_MIN_CHUNK_ALONE = 256
_SMALL = 16  # a chunk this small tells nothing about the speed of prompts
_FIRST_BYTES_PER_S = 5e9  # a slow machine's memory, as long as nothing was measured


class Pace:
    """Seconds for a step that decodes, and for each token of a prompt."""

    def __init__(self, file_bytes: int) -> None:
        guess = max(file_bytes / _FIRST_BYTES_PER_S, 1e-4)
        self._decode_s = guess
        self._token_s = guess
        self._knows_decode = self._knows_token = False

    def predict(self, decoding: int, prompt_tokens: int) -> float:
        """Seconds for a step with this many decoding rows and tokens of prompts."""
        return (
            self._decode_s if decoding or prompt_tokens else 0.0
        ) + prompt_tokens * self._token_s

    def learn(self, decoding: int, prompt_tokens: int, seconds: float) -> None:
        """A step took this long."""
        if prompt_tokens > _SMALL:
            base = self._decode_s if decoding and self._knows_decode else 0.0
            found = max(seconds - base, seconds / 10) / prompt_tokens
            self._token_s = _mix(self._token_s, found) if self._knows_token else found
            self._knows_token = True
        else:
            self._decode_s = _mix(self._decode_s, seconds) if self._knows_decode else seconds
            self._knows_decode = True

    def chunk(self, decoding: bool, most: int) -> int:
        """How many tokens of prompts the next step should take."""
        aim, least = (
            (_ALIVE_STEP_S, _MIN_CHUNK_ALIVE) if decoding else (_ALONE_STEP_S, _MIN_CHUNK_ALONE)
        )
        if not self._knows_token:
            return min(most, _MIN_CHUNK_ALONE)  # small enough to learn from
        return min(max(int(aim / max(self._token_s, 1e-9)), least), most)


def _mix(old: float, new: float) -> float:
    return 0.7 * old + 0.3 * new
