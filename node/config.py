"""The node's settings: read once, frozen, unknown keys refused.

`config.toml` in the home folder, then `KITH_<SECTION>_<KEY>` from the environment, then the command
line's own flags. Every setting is documented in docs/settings.md; a test compares the two.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

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
    threads: int = 0  # 0: as many as there are physical cores
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
        raise ConfigError(
            f"{file}: {error}; see `node config --help` for what may be set"
        ) from error
    _check(settings, file)
    return settings


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
        variable = "KITH_" + name.replace(".", "_").upper()
        if variable in env:
            value = env[variable]
            found[name] = [v for v in value.split(",") if v] if _is_list(name) else value
    return found


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
    bad: list[str] = []
    if not 0 <= settings.api.port <= 65535:
        bad.append("api.port must be between 0 and 65535")
    for name, value in (
        ("api.max_body_bytes", settings.api.max_body_bytes),
        ("serving.context", settings.serving.context),
        ("serving.parallel", settings.serving.parallel),
        ("serving.queue", settings.serving.queue),
        ("content.max_model_bytes", settings.content.max_model_bytes),
        ("log.max_bytes", settings.log.max_bytes),
    ):
        if value < 1:
            bad.append(f"{name} must be at least 1")
    if settings.serving.memory_bytes < 0:
        bad.append("serving.memory_bytes must not be negative")
    if bad:
        raise ConfigError(f"{file}: " + "; ".join(bad))
