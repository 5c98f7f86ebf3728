"""Random damage to a sound GGUF file: either it is still read, or BadModel; nothing else, soon."""

import io
import random
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import BadModel
from models.facts import facts_of_gguf
from models.gguf import parse_header
from models.gguf_meaning import check_meaning
from tests.support.gguf_maker import Shape, llama_file

SOUND = llama_file(shape=Shape(dim=32, blocks=1, heads=2, kv_heads=1, feed_forward=32)).to_bytes()
HEADER = SOUND.index(b"token_embd.weight") + 2000
ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFFFFFF, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1)


def read(data: bytes) -> bool:
    """Whether the bytes are still taken for a model; anything but BadModel fails the test."""
    try:
        header = parse_header(io.BytesIO(data), len(data))
        check_meaning(header)
        facts_of_gguf(header).to_json()
    except BadModel as error:
        if not str(error).isprintable():
            raise
        return False
    return True


def damage(rng: random.Random) -> bytes:
    data = bytearray(SOUND)
    for _ in range(rng.choice((1, 1, 2, 8))):
        # Half of the damage goes where the numbers are: outside the vocabulary.
        place = rng.randrange(900) if rng.random() < 0.5 else rng.randrange(HEADER)
        match rng.randrange(4):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                width = rng.choice((1, 2, 4, 8))
                number = rng.choice(ODD_NUMBERS) & ((1 << 8 * width) - 1)
                data[place : place + width] = number.to_bytes(width, "little")
            case 2:
                del data[place : place + rng.randrange(1, 64)]
            case 3:
                data[place:place] = rng.randbytes(rng.randrange(1, 64))
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)


def test_1500_damaged_files_give_bad_model_or_facts_and_soon() -> None:
    rng = random.Random(20)
    slowest, refused = 0.0, 0
    for _ in range(1500):
        data = damage(rng)
        start = time.perf_counter()
        refused += not read(data)
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 1.0
    assert refused > 500


def test_every_byte_before_the_vocabulary_may_be_wrong() -> None:
    for place in range(SOUND.index(b"tokenizer.ggml.tokens") + 60):
        for value in (0, 1, 0x80, 0xFF):
            data = bytearray(SOUND)
            data[place] = value
            read(bytes(data))


@settings(max_examples=60, deadline=1000, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400))
def test_anything_after_the_magic_is_survived(noise: bytes) -> None:
    assert not read(b"GGUF" + noise)
    assert not read(b"GGUF\x03\0\0\0" + noise)
