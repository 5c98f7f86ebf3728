"""What can go wrong around keys, identity and grants; every message says what to do."""

from __future__ import annotations

from typing import Literal

Code = Literal[
    "bad_words",  # not 24 words of the list, or their check does not fit
    "wrong_words",  # good words, but of another owner
    "wrong_passphrase",
    "no_owner_key",  # the owner's secret is not on this device
    "bad_chain",  # a chain that does not verify, or is another owner's
    "not_certified",  # this device is pending or revoked
    "unknown_device",
    "bad_request",
    "unknown_grant",
    "name_taken",
    "keys_unusable",  # a key file is missing, damaged or somebody else's
]


class OwnerError(Exception):
    """`code` is for programs, the message for people; `hint` is what to do when the message does not say."""

    def __init__(self, code: Code, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code: Code = code
        self.hint = hint
