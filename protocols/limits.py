"""Every bound of what crosses a wire or is read from a disk, with its unit. One table for all."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# The HTTP API.
HTTP_BODY_BYTES: Final = 8 * MIB
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
