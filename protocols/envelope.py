"""Signed envelopes: a payload and signatures over exactly its bytes and the domain they are meant for.

The signed bytes are the pre-authentication encoding of DSSE: "DSSEv1 <len> <domain> <len> <payload>".
An envelope carries a list of signatures. A 32-byte key with a 64-byte signature is Ed25519 and must
hold; entries of other sizes belong to algorithms that this version does not know: they are kept
(a later version may add a post-quantum co-signature) and count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from protocols import limits, strict
from protocols.errors import Malformed, Refused

_ED25519: Final = (32, 64)  # bytes of a key and of a signature
_DEPTH: Final = 3  # the map, the list of signatures, one signature

_Key = Annotated[bytes, Meta(min_length=1, max_length=limits.SIGNATURE_KEY_BYTES)]
_Signature = Annotated[bytes, Meta(min_length=1, max_length=limits.SIGNATURE_BYTES)]
_Signatures = Annotated[
    tuple[tuple[_Key, _Signature], ...],
    Meta(min_length=1, max_length=limits.ENVELOPE_SIGNATURES),
]


class _Envelope(strict.Message, frozen=True):
    p: bytes
    s: _Signatures


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload whose signatures hold, and the Ed25519 keys that made them: at least one."""

    payload: bytes
    signers: tuple[bytes, ...]


def sign(key: SigningKey, domain: str, payload: bytes, *, also: Sequence[SigningKey] = ()) -> bytes:
    """The envelope of `payload`, signed by `key` and by every key in `also`."""
    message = pae(domain, payload)
    signatures = [[bytes(k.verify_key), k.sign(message).signature] for k in (key, *also)]
    return strict.encode({"p": payload, "s": signatures})


def open_envelope(data: bytes, domain: str, *, max_bytes: int) -> Opened:
    """The payload, once every Ed25519 signature was found good.

    Raises `Malformed` for bytes that are no envelope, `Refused` for a signature that does not hold
    (also by a key of small order, with which anyone could sign anything) or when there is none.
    """
    envelope = strict.to_struct(
        _Envelope, strict.decode(data, max_bytes=max_bytes, max_depth=_DEPTH)
    )
    keys = [key for key, _ in envelope.s]
    if len(set(keys)) != len(keys):
        raise Malformed("an envelope has two signatures by one key")
    message = pae(domain, envelope.p)
    signers = []
    for key, signature in envelope.s:
        if (len(key), len(signature)) == _ED25519:
            _verify(key, message, signature)
            signers.append(key)
    if not signers:
        raise Refused("no signature that this version can check", rule="signature")
    return Opened(envelope.p, tuple(signers))


def pae(domain: str, payload: bytes) -> bytes:
    """The bytes that are signed. Lengths make it impossible to read one (domain, payload) as another."""
    name = domain.encode("ascii", "replace")
    if not domain.isascii() or not domain.isprintable() or not 0 < len(name) <= limits.DOMAIN_BYTES:
        raise ValueError(f"a domain is 1 to {limits.DOMAIN_BYTES} printable ASCII characters")
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def _verify(key: bytes, message: bytes, signature: bytes) -> None:
    try:
        VerifyKey(key).verify(message, signature)
    except (CryptoError, ValueError) as error:
        raise Refused(
            f"the signature by key {key.hex()[:16]} does not hold", rule="signature"
        ) from error
