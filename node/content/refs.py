"""What a person may give to `pull`: an URL, `hf:owner/repo/file[@rev]`, or `owner/repo/file[@rev]`.

A reference becomes the URLs of one model's files. Everything else is refused with its reason.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from node.content.errors import BadRef

_OWNER_OR_REPO: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", re.ASCII)
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", re.ASCII)
_PART: Final = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf", re.ASCII)
_MAX_PARTS: Final = 1000
_MAX_REF_CHARS: Final = 4096
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy")
_HOW: Final = "use an https URL of a .gguf file, or hf:owner/repo/file.gguf"


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch: the name it will have here, and where it is."""

    name: str
    url: str


@dataclass(frozen=True)
class Ref:
    """A reference that was understood."""

    text: str  # as it may be shown and recorded: without a query, which may hold a secret
    files: tuple[RemoteFile, ...]
    origin: tuple[str, str, int]  # scheme, host, port of the first request
    is_hub: bool  # the first request goes to the hub endpoint itself

    @property
    def model_name(self) -> str:
        return self.files[0].name


def parse_ref(ref: str, endpoint: str) -> Ref:
    """What `ref` asks for, with the hub at `endpoint`. Raises `BadRef`."""
    ref = ref.strip()
    if not ref or len(ref) > _MAX_REF_CHARS or not ref.isprintable():
        raise BadRef(f"this is not a reference to a model: {_HOW}")
    if "://" in ref:
        return _from_url(ref, endpoint)
    if ref.lower().startswith("hf:"):
        return _from_hub(ref[3:], endpoint)
    if ":" in ref.split("/")[0]:
        scheme = ref.split(":")[0]
        raise BadRef(f"{scheme[:20]!r} is not a kind of reference that is known: {_HOW}")
    if ref.startswith(("/", "./", "../", "~")):
        raise BadRef("this is a path on this machine: use `node models add FILE` for it")
    return _from_hub(ref, endpoint)


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an http(s) URL. Raises `BadRef` for anything else."""
    parts = _split(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_name(name: str) -> tuple[str, int, int] | None:
    """(stem, part, parts) of a name like `x-00001-of-00003.gguf`, or None."""
    match = _PART.fullmatch(name)
    if match is None:
        return None
    return match["stem"], int(match["part"]), int(match["count"])


def _from_url(ref: str, endpoint: str) -> Ref:
    parts = _split(ref)
    hub = origin_of(ref) == origin_of(endpoint)
    path, query = parts.path, parts.query
    if hub:
        path, query = _as_download(path), ""
    name = unquote(path.rsplit("/", 1)[-1])
    _check_file_name(name)
    base = f"{parts.scheme}://{parts.netloc}"
    urls = [
        RemoteFile(part, base + _sibling(path, part) + (f"?{query}" if query else ""))
        for part in _all_parts(name)
    ]
    if len(urls) > 1 and query:
        raise BadRef("a model in several parts cannot be pulled through an URL with a query")
    return Ref(base + path, tuple(urls), origin_of(ref), hub)


def _from_hub(rest: str, endpoint: str) -> Ref:
    path, _, revision = rest.partition("@")
    words = path.split("/")
    if len(words) < 3 or not words[-1]:
        raise BadRef(
            f"{rest[:80]!r} does not name a file: write it as hf:owner/repo/file.gguf, with the"
            " file's name from the repository's page"
        )
    owner, repo, *folders = words
    for word in (owner, repo):
        if not _OWNER_OR_REPO.fullmatch(word) or ".." in word:
            raise BadRef(f"{word[:80]!r} is not the name of an owner or a repository on the hub")
    revision = revision or "main"
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise BadRef(f"{revision[:80]!r} is not a revision (a branch, a tag or a commit)")
    if any(folder in ("", ".", "..") for folder in folders):
        raise BadRef(f"{path[:80]!r} is not a path inside a repository")
    _check_file_name(folders[-1])
    base = f"{endpoint.rstrip('/')}/{owner}/{repo}/resolve/{quote(revision, safe='')}"
    inside = "".join(f"/{quote(folder)}" for folder in folders[:-1])
    files = tuple(
        RemoteFile(part, f"{base}{inside}/{quote(part)}") for part in _all_parts(folders[-1])
    )
    shown = f"hf:{path}" + (f"@{revision}" if revision != "main" else "")
    return Ref(shown, files, origin_of(endpoint), is_hub=True)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRef(f"this URL cannot be read ({error}): {_HOW}") from error
    if parts.scheme not in ("http", "https"):
        raise BadRef(f"only http and https URLs can be pulled, not {parts.scheme[:20]!r}: {_HOW}")
    if not parts.hostname or port == 0:
        raise BadRef(f"this URL names no host: {_HOW}")
    if parts.username is not None or parts.password is not None:
        raise BadRef("an URL must not hold a user name or a password: take them out")
    return parts


def _as_download(path: str) -> str:
    """The page of a file on the hub (`/blob/`) is what people copy: its download is beside it."""
    words = path.split("/")
    if len(words) > 4 and words[3] in ("blob", "raw"):
        words[3] = "resolve"
    return "/".join(words)


def _sibling(path: str, name: str) -> str:
    return path.rsplit("/", 1)[0] + "/" + quote(name)


def _all_parts(name: str) -> list[str]:
    split = split_name(name)
    if split is None:
        return [name]
    stem, part, count = split
    if not 1 <= part <= count <= _MAX_PARTS:
        raise BadRef(f"{name!r} says that it is part {part} of {count}: that cannot be")
    return [f"{stem}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)]


def _check_file_name(name: str) -> None:
    lowered = name.lower()
    if lowered.endswith(_PICKLES):
        raise BadRef(
            f"{name[:80]!r} is in a pickle format, which can run any program when it is opened:"
            " take the model as a .gguf file"
        )
    if lowered.endswith(".safetensors"):
        raise BadRef(
            f"{name[:80]!r} holds weights that must be converted first: take the model as a .gguf file"
        )
    if lowered.endswith(".onnx"):
        raise BadRef(
            f"{name[:80]!r} is one of several files of an ONNX model: fetch the folder that holds it and"
            " its tokenizer.json, and use `node models add FOLDER`"
        )
    if not lowered.endswith(".gguf") or "/" in name or "\\" in name or name[0] == ".":
        raise BadRef(f"{name[:80]!r} is not the name of a model file: {_HOW}")
    if len(name.encode()) > 200 or not name.isprintable():
        raise BadRef("the file's name is too long or holds unprintable characters")
