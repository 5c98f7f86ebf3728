"""The secrets of a node on disk, and the keys that follow from them.

keys/owner.key    32 random bytes (the 24 words), plain or sealed with a passphrase; may be absent
keys/device.key   the seed of this device's key
keys/api-token    the owner's bearer token for the API
"""

from __future__ import annotations

import json
import secrets
import unicodedata
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.signing import SigningKey

from node.owner.errors import OwnerError
from node.owner.files import read_private, write_private
from node.owner.words import ENTROPY_BYTES

_FILE_BYTES: Final = 4096
_MARK: Final = "kith_"  # lets scanners for leaked secrets recognise one
_PERSON: Final = b"kith owner key 1"
_KDF_OPS: Final = pwhash.argon2id.OPSLIMIT_MODERATE
_KDF_MEMORY: Final = pwhash.argon2id.MEMLIMIT_MODERATE
_PASSPHRASE_CHARS: Final = 1024
_SEALED_BYTES: Final = SecretBox.NONCE_SIZE + SecretBox.MACBYTES + ENTROPY_BYTES


def new_entropy() -> bytes:
    return secrets.token_bytes(ENTROPY_BYTES)


def owner_key(entropy: bytes, index: int) -> SigningKey:
    """Key number `index` of an owner: 0 signs the genesis, each rotation takes the next one."""
    if len(entropy) != ENTROPY_BYTES or index < 0:
        raise ValueError("an owner key needs 32 bytes and a number from 0")
    seed = blake2b(index.to_bytes(8, "big"), key=entropy, person=_PERSON, digest_size=32).digest()
    return SigningKey(seed)


def new_token() -> str:
    """A bearer secret of 256 random bits."""
    return _MARK + secrets.token_urlsafe(32)


class OwnerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """keys/owner.key: `entropy`, or `salt` and `sealed` when a passphrase protects it. All hex."""

    version: int
    entropy: str = ""
    salt: str = ""
    sealed: str = ""

    @property
    def has_passphrase(self) -> bool:
        return bool(self.sealed)

    def open(self, passphrase: str | None) -> bytes:
        """The secret inside. Takes most of a second and 256 MiB when sealed: call it in a thread.

        Raises `OwnerError`: "wrong_passphrase", or "keys_unusable" for a damaged file.
        """
        try:
            entropy = self._unseal(passphrase) if self.sealed else bytes.fromhex(self.entropy)
        except ValueError as error:
            raise _damaged() from error
        if len(entropy) != ENTROPY_BYTES:
            raise _damaged()
        return entropy

    def _unseal(self, passphrase: str | None) -> bytes:
        if not passphrase:
            raise OwnerError(
                "wrong_passphrase",
                "the owner key is protected: give its passphrase (`--passphrase` asks for it)",
            )
        salt, sealed = bytes.fromhex(self.salt), bytes.fromhex(self.sealed)
        if (len(salt), len(sealed)) != (pwhash.argon2id.SALTBYTES, _SEALED_BYTES):
            raise _damaged()
        try:
            return SecretBox(_stretch(passphrase, salt)).decrypt(sealed)
        except CryptoError as error:
            raise OwnerError(
                "wrong_passphrase", "that is not the owner key's passphrase"
            ) from error


def seal(entropy: bytes, passphrase: str | None) -> OwnerFile:
    """What to write for `entropy`. As slow as `OwnerFile.open` with a passphrase."""
    if passphrase is None:
        return OwnerFile(1, entropy=entropy.hex())
    salt = secrets.token_bytes(pwhash.argon2id.SALTBYTES)
    sealed = SecretBox(_stretch(passphrase, salt)).encrypt(entropy)
    return OwnerFile(1, salt=salt.hex(), sealed=bytes(sealed).hex())


def read_owner_file(path: Path) -> OwnerFile | None:
    """The owner's secret file, or None when this device keeps none."""
    try:
        data = read_private(path, max_bytes=_FILE_BYTES)
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(data, type=OwnerFile)
    except msgspec.DecodeError as error:
        raise _damaged() from error
    if found.version != 1:
        raise OwnerError(
            "keys_unusable",
            f"keys/owner.key has version {found.version}, this program knows 1: update the program",
        )
    if bool(found.entropy) == bool(found.sealed):
        raise _damaged()
    return found


def write_owner_file(path: Path, file: OwnerFile) -> None:
    write_private(path, json.dumps(msgspec.to_builtins(file)).encode())


def read_device_key(path: Path) -> SigningKey | None:
    try:
        seed = read_private(path, max_bytes=_FILE_BYTES)
    except FileNotFoundError:
        return None
    if len(seed) != ENTROPY_BYTES:
        raise OwnerError(
            "keys_unusable",
            f"{path} is damaged ({len(seed)} bytes instead of 32): put it back from a backup,"
            " or move it away and restore from your words as a new device",
        )
    return SigningKey(seed)


def write_device_key(path: Path, key: SigningKey) -> None:
    write_private(path, bytes(key))


def ensure_token(path: Path) -> str:
    """The owner's API token; made on first use, and made again when the file is empty or damaged."""
    try:
        token = read_private(path, max_bytes=_FILE_BYTES).decode("ascii", "replace").strip()
        if token.startswith(_MARK) and len(token) >= len(_MARK) + 40:
            return token
    except FileNotFoundError:
        pass
    token = new_token()
    write_private(path, token.encode("ascii") + b"\n")
    return token


def _stretch(passphrase: str, salt: bytes) -> bytes:
    if not 0 < len(passphrase) <= _PASSPHRASE_CHARS:
        raise OwnerError(
            "bad_request", f"a passphrase has between 1 and {_PASSPHRASE_CHARS} characters"
        )
    text = unicodedata.normalize("NFKC", passphrase).encode("utf-8", "surrogatepass")
    try:
        return pwhash.argon2id.kdf(SecretBox.KEY_SIZE, text, salt, _KDF_OPS, _KDF_MEMORY)
    except (RuntimeError, MemoryError) as error:
        raise OwnerError(
            "keys_unusable",
            f"a passphrase needs {_KDF_MEMORY >> 20} MiB of free memory for a moment: close something",
        ) from error


def _damaged() -> OwnerError:
    return OwnerError(
        "keys_unusable",
        "keys/owner.key is damaged: put it back from a backup, or move it away and use your 24 words",
    )
