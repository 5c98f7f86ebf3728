"""The node's settings: read once, frozen, unknown keys refused.

`config.toml` in the home folder, then `KITH_<SECTION>_<KEY>` from the environment, then the command
line's own flags. Every setting is documented in docs/settings.md; a test compares the two.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from protocols.errors import Malformed
from protocols.labels import Label
from protocols.limits import GIB

SECONDS = 1.0
MINUTES = 60 * SECONDS


class ConfigError(Exception):
    """A setting is wrong; the message names it, the reason and the file."""


class ApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the HTTP API listens and who may use it."""

    host: str = "127.0.0.1"  # anything else than loopback is told as a warning at every start
    port: int = 8750  # 0: any free port
    token_required: bool = True
    cors_origins: tuple[
        str, ...
    ] = ()  # web pages that may call the API, e.g. "http://localhost:3000"
    allowed_hosts: tuple[str, ...] = ()  # Host headers besides loopback names
    max_body_bytes: int = 8 * 1024 * 1024
    default_label: str = "device"  # the label of what is asked without a key of its own


class ServingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How models are loaded and how much they may take."""

    default_model: str = "starter"
    memory_bytes: int = 0  # budget for all loaded models; 0: three quarters of the machine's memory
    context: int = 8192  # tokens per conversation at most; a model's own limit is never exceeded
    parallel: int = 4  # requests that one model answers at a time
    queue: int = 64  # requests that may wait for a model; more are told to come back later
    threads: int = 0  # 0: one for each physical core that others leave free
    gpu_layers: int = -1  # -1: all that fit a GPU build; 0: processor only
    idle_unload_s: float = 15 * MINUTES  # 0: never
    load_timeout_s: float = 10 * MINUTES
    request_timeout_s: float = 60 * MINUTES
    hang_s: float = 5 * SECONDS  # no step for longer than max(this, 10 x the predicted) is a hang


class ContentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where models come from."""

    hub_endpoint: str = "https://huggingface.co"
    hub_token: str = ""  # for gated repositories; better in KITH_CONTENT_HUB_TOKEN
    max_model_bytes: int = 512 * GIB
    pull_timeout_s: float = 60 * SECONDS  # without a single byte, before the pull tries again
    pull_retries: int = 8


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_bytes: int = 8 * 1024 * 1024  # one log file; the previous one is kept beside it


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offline: bool = False  # no network at all but the API on loopback
    api: ApiSettings = ApiSettings()
    serving: ServingSettings = ServingSettings()
    content: ContentSettings = ContentSettings()
    log: LogSettings = LogSettings()


def load_settings(
    file: Path, env: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force. `overrides` maps dotted names ("api.port") to values from the command line.

    Raises `ConfigError` for an unreadable file, an unknown key or a value of the wrong kind.
    """
    tree = _read_toml(file)
    for name, value in _from_environment(env).items():
        _put(tree, name, value)
    for name, value in (overrides or {}).items():
        _put(tree, name, value)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(file, str(error), env, overrides or {})) from error
    _check(settings, file)
    return settings


def _explain(file: Path, problem: str, env: Mapping[str, str], overrides: Mapping[str, Any]) -> str:
    """Name the setting, and where its wrong value comes from: the last one that set it."""
    what, _, where = problem.partition(" - at `$")
    name = re.match(r"\.?([a-z_.]*)", where)
    setting = name[1] if name else ""
    source = str(file)
    if setting in overrides:
        source = "the command line"
    elif _variable(setting) in env:
        source = _variable(setting)
    told = f"{setting}: {what}" if setting else what
    return f"{source}: {told}; see `node config --help` for what may be set"


def setting_names() -> list[str]:
    """Every setting's dotted name, in the order of the definition."""
    names: list[str] = []
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            names += [f"{field.name}.{inner.name}" for inner in msgspec.structs.fields(field.type)]
        else:
            names.append(field.name)
    return names


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read as TOML: {error}") from error


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in setting_names():
        variable = _variable(name)
        if variable in env:
            value = env[variable]
            found[name] = (
                [part.strip() for part in value.split(",") if part.strip()]
                if _is_list(name)
                else value
            )
    return found


def _variable(name: str) -> str:
    return "KITH_" + name.replace(".", "_").upper()


def _is_list(name: str) -> bool:
    return name in {"api.cors_origins", "api.allowed_hosts"}


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        inner = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"'{section}' must be a section ([{section}]), not a value")
        tree = inner
    tree[key] = value


def _check(settings: Settings, file: Path) -> None:
    bad = [problem for problem in (*_wrong_numbers(settings), *_wrong_words(settings)) if problem]
    if bad:
        raise ConfigError("; ".join(bad) + f" (set in {file}, the environment or the command line)")


def _wrong_numbers(settings: Settings) -> Iterator[str]:
    api, serving, content = settings.api, settings.serving, settings.content
    if not 0 <= api.port <= 65535:
        yield "api.port must be between 0 and 65535"
    for name, count in (
        ("api.max_body_bytes", api.max_body_bytes),
        ("serving.context", serving.context),
        ("serving.parallel", serving.parallel),
        ("serving.queue", serving.queue),
        ("content.max_model_bytes", content.max_model_bytes),
        ("log.max_bytes", settings.log.max_bytes),
    ):
        if count < 1:
            yield f"{name} must be at least 1"
    for name, count, least in (
        ("serving.memory_bytes", serving.memory_bytes, 0),
        ("serving.threads", serving.threads, 0),
        ("serving.gpu_layers", serving.gpu_layers, -1),
        ("content.pull_retries", content.pull_retries, 0),
    ):
        if count < least:
            yield f"{name} must be at least {least}"
    for name, seconds in (
        ("serving.load_timeout_s", serving.load_timeout_s),
        ("serving.request_timeout_s", serving.request_timeout_s),
        ("serving.hang_s", serving.hang_s),
        ("content.pull_timeout_s", content.pull_timeout_s),
    ):
        if not (math.isfinite(seconds) and seconds > 0):
            yield f"{name} must be more than 0 seconds"
    if not (math.isfinite(serving.idle_unload_s) and serving.idle_unload_s >= 0):
        yield "serving.idle_unload_s must be 0 (never) or more seconds"


def _wrong_words(settings: Settings) -> Iterator[str]:
    try:
        Label.parse(settings.api.default_label)
    except Malformed as error:
        yield f"api.default_label: {error}"
    if not settings.api.host.strip():
        yield "api.host must name an address; 127.0.0.1 is this machine only"
    if not settings.serving.default_model.strip():
        yield "serving.default_model must name a model"
    if not settings.content.hub_endpoint.startswith(("http://", "https://")):
        yield "content.hub_endpoint must start with https:// or http://"
