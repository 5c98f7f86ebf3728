"""A small byte-level BPE vocabulary with a ChatML template, for the random test models."""

from dataclasses import dataclass

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' "
    "+ '\n'}}{% endfor %}{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
NORMAL, CONTROL = 1, 3
# The rows of the control tokens (0-2) and of the bytes that are not printable ASCII (3 + byte).
QUIET_ROWS = [*range(3), *(3 + byte for byte in range(256) if not 32 <= byte < 127)]
_TEXT = (
    "the of and to in is you that it he was for on are as with his they be at one have this from "
    "or had by hot but some what there we can out other were all your when up use word how said "
    "an each she which do their time if will way about many then them would write like so these "
    "her long make thing see him two has look more day could go come did my sound no most number "
    "who over know water than call first people may down side been now find any new work part "
    "take get place made live where after back little only round man year came show every good "
    "me give our under name very through just form much great think say help low line before "
    "turn cause same mean differ move right boy old too does tell sentence set three want air "
    "well also play small end put home read hand port large spell add even land here must big "
    "system user assistant joke model node mesh"
)
WORDS = tuple(_TEXT.split())


@dataclass(frozen=True)
class Vocabulary:
    """Token texts (in the byte alphabet), their types, and the merges in order of rank."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]


def byte_alphabet() -> tuple[str, ...]:
    """The printable character that stands for each byte in byte-level BPE."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return tuple(chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256))


def small_vocabulary() -> Vocabulary:
    """Control tokens, all bytes, and the tokens on the way to a few hundred common words."""
    alphabet = byte_alphabet()
    space = alphabet[32]
    tokens = [*SPECIAL, *alphabet]
    seen, merges = set(tokens), []
    for word in WORDS:
        text = space + word
        for end in range(2, len(text) + 1):
            if text[:end] not in seen:
                seen.add(text[:end])
                tokens.append(text[:end])
                merges.append(f"{text[: end - 1]} {text[end - 1]}")
    types = [CONTROL] * len(SPECIAL) + [NORMAL] * (len(tokens) - len(SPECIAL))
    return Vocabulary(tuple(tokens), tuple(types), tuple(merges))
