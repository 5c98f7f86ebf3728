"""Every bound of what crosses a wire or is read from a disk, with its unit. One table for all."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# The HTTP API.
HTTP_HEADER_BYTES: Final = 16 * KIB
SSE_LINE_BYTES: Final = 1 * MIB  # one line of an event stream, as a client accepts it

# Jobs.
JOB_MESSAGES: Final = 4096  # messages in one chat request
JOB_STOPS: Final = 16  # stop strings
JOB_STOP_BYTES: Final = 256  # one stop string, UTF-8
JOB_LOGPROBS: Final = 20  # alternatives per token
JOB_EMBED_INPUTS: Final = 2048  # texts in one embedding request
JOB_SCHEMA_BYTES: Final = 64 * KIB  # a JSON schema or grammar
JOB_EVENTS_BUFFERED: Final = 256  # events between a target and a slow reader

# Names that people give.
NAME_CHARS: Final = 128
TITLE_CHARS: Final = 200

# The strict msgpack profile (protocols.strict). A frame's own size is its reader's choice.
MSGPACK_DEPTH: Final = 16  # containers inside containers
MSGPACK_ITEMS: Final = 65_536  # values in one message, map keys included

# Signed envelopes, records, heads.
RECORD_BYTES: Final = 64 * KIB  # one record's envelope
HEAD_BYTES: Final = 4 * KIB  # one head's envelope
ENVELOPE_SIGNATURES: Final = 4  # signatures in one envelope
SIGNATURE_KEY_BYTES: Final = 4 * KIB  # one public key in an envelope, any algorithm
SIGNATURE_BYTES: Final = 16 * KIB  # one signature in an envelope, any algorithm
DOMAIN_BYTES: Final = 128  # a domain string, ASCII
NET_CHARS: Final = 32  # the name of a network
RECORD_TYPE_CHARS: Final = 32
RECORD_AHEAD_MS: Final = 24 * 3600 * 1000  # how far a record's time may lie in the future
HEAD_TTL_MS: Final = 30 * 24 * 3600 * 1000  # the longest promise a head may make
CHAIN_SEQ: Final = 2**53 - 1  # the highest place in a feed
OWNER_DEVICES: Final = 1024  # devices in one owner's chain, revoked ones included
OWNER_RECOVERY: Final = 8  # recovery keys in a genesis
NOTE_CHARS: Final = 1000  # a reason or a remark in a record
FEED_NAMES: Final = 10_000  # names published in one feed

# Labels and ids.
MESH_ID_CHARS: Final = 64
ID_PREFIX_CHARS: Final = 16

# Content addresses and blocks.
CID_TEXT_CHARS: Final = 80  # the longest text of a CID that we read (base16 needs 73)
BLOCK_BYTES: Final = 2 * MIB  # one block, as other IPFS nodes take it
BLOCK_LINKS: Final = 8192  # links in one dag-pb node
DIRECTORY_BYTES: Final = 256 * KIB  # above this IPFS splits a directory; we refuse
DIRECTORY_NAME_BYTES: Final = 255  # one name, UTF-8
FILE_BYTES: Final = 2**53 - 1  # one file

# Chain states, as a node keeps them.
OWNER_ROTATIONS: Final = 1024  # key rotations in one owner's chain
OWNER_CHAIN_BYTES: Final = 4 * MIB  # a whole owner's chain, as a person keeps a copy of it
CHAIN_STATE_BYTES: Final = 4 * MIB
CHAIN_STATE_ITEMS: Final = 200_000  # msgpack values
