"""Small changes that people make to a question without changing what it asks."""

from __future__ import annotations

import random


def _words(text: str) -> list[str]:
    return text.split()


# Left out in keyword-like questions ("keys location" for "the location of my keys").
FUNCTION_WORDS = frozenset(
    _words("a an the my your i you we do does is are to of in on for it this that me can how be")
)
_ONSETS = _words("b bl br c ch cl d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sch sk sl")
_ONSETS += _words("sm sn sp st str t tr v w wh y z zh")
_VOWELS = _words("a e i o u ai ea ee ie oo ou au y")
_CODAS = [
    "",
    "",
    *_words("b d f g k l ll lm lt m mp n nd ng nk nt p r rd rk rm rn rt s sh ss st t x"),
]
_ENDINGS = ["", "", "", "er", "ing", "s", "ion", "ate", "ium", "ic", "ed", "ness", "ia", "ism", "y"]


def invented_word(rng: random.Random) -> str:
    """A word that does not exist, so that the model learns that strange words mean a strange topic."""
    syllables = rng.choice((1, 1, 2, 2, 3))
    body = "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables)
    )
    return body + rng.choice(_ENDINGS)


def typo(rng: random.Random, text: str) -> str:
    """One letter of one longer word lost, doubled, swapped or replaced."""
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not places:
        return text
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(1, len(word) - 1)
    changed = {
        "lose": word[:at] + word[at + 1 :],
        "double": word[:at] + word[at] + word[at:],
        "swap": word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        "replace": word[:at] + rng.choice("aeiourstnlm") + word[at + 1 :],
    }
    words[place] = changed[rng.choice(sorted(changed))]
    return " ".join(words)


def synonyms(rng: random.Random, text: str, groups: list[list[str]]) -> str:
    """One or two words replaced by others of their group."""
    padded = f" {text} "
    found = [(word, group) for group in groups for word in group if f" {word} " in padded]
    for word, group in rng.sample(found, min(len(found), rng.choice((1, 1, 2)))):
        padded = padded.replace(f" {word} ", f" {rng.choice(group)} ", 1)
    return padded[1:-1]


def keywords(rng: random.Random, text: str) -> str:
    """Some function words left out."""
    kept = [w for w in text.split(" ") if w not in FUNCTION_WORDS or rng.random() < 0.3]
    return " ".join(kept) if len(kept) > 1 else text


def surface(rng: random.Random, text: str) -> str:
    """Capitals and punctuation as people type them."""
    draw = rng.random()
    if draw < 0.5:
        text = text[:1].upper() + text[1:]
    elif draw < 0.54:
        text = text.upper()
    text = text.replace(" i ", " I ") if rng.random() < 0.6 else text
    if text[-1:].isalnum():
        text += rng.choice(("", "", "?", "?", "?", ".", "!", " ?", "??"))
    return text
