"""Settings: file, then environment, then command line; anything unknown or absurd is refused."""

from pathlib import Path
from typing import Any

import pytest

from node.config import ConfigError, Settings, load_settings, setting_names


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refused(
    file: Path, env: dict[str, str] | None = None, overrides: dict[str, Any] | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(file, env or {}, overrides)
    return str(caught.value)


def test_without_a_file_everything_has_its_default(file: Path) -> None:
    assert load_settings(file, {}) == Settings()


def test_the_later_source_wins(file: Path) -> None:
    file.write_text("[api]\nport = 1001\nhost = '::1'\n[serving]\nqueue = 5\n")
    env = {"KITH_API_PORT": "1002", "KITH_SERVING_QUEUE": "6"}
    settings = load_settings(file, env, {"api.port": 1003})
    assert (settings.api.port, settings.serving.queue, settings.api.host) == (1003, 6, "::1")


def test_every_setting_can_come_from_the_environment(file: Path) -> None:
    samples = {bool: "true", int: "7", float: "7.5", str: "public", tuple: "a, b,"}
    for name in setting_names():
        value: Any = load_settings(file, {})
        for part in name.split("."):
            value = getattr(value, part)
        text = {"content.hub_endpoint": "http://x", "log.level": "debug"}.get(name)
        variable = "KITH_" + name.replace(".", "_").upper()
        found: Any = load_settings(file, {variable: text or samples[type(value)]})
        for part in name.split("."):
            found = getattr(found, part)
        assert type(found) is type(value)
        assert found != value or value is True, name


def test_a_list_from_the_environment_is_split_at_commas(file: Path) -> None:
    settings = load_settings(file, {"KITH_API_CORS_ORIGINS": "http://a, http://b,"})
    assert settings.api.cors_origins == ("http://a", "http://b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour = 1", "unknown field `colour`"),
        ("[api]\nprot = 1", "api: Object contains unknown field `prot`"),
        ("[cooking]\nsalt = 1", "unknown field `cooking`"),
        ("api = 1", "api: Expected `object`"),
        ("[api]\nport = 'x'", "api.port: Expected `int`, got `str`"),
        ("[api]\nport = true", "api.port: Expected `int`"),
        ("[api]\nport = 1.5", "api.port"),
        ("[api]\nport = 65536", "api.port must be between"),
        ("[api]\nport = -1", "api.port must be between"),
        ("[api]\nhost = ' '", "api.host"),
        ("[api]\ncors_origins = 'http://a'", "api.cors_origins: Expected `array`"),
        ("[api]\ncors_origins = [1]", "api.cors_origins"),
        ("[api]\nmax_body_bytes = 0", "max_body_bytes must be at least 1"),
        ("[api]\ndefault_label = 'secret'", "api.default_label"),
        ("offline = 'perhaps'", "offline: Expected `bool`"),
        ("[serving]\nparallel = 0", "serving.parallel must be at least 1"),
        ("[serving]\nmemory_bytes = -1", "serving.memory_bytes"),
        ("[serving]\nthreads = -1", "serving.threads"),
        ("[serving]\ngpu_layers = -2", "serving.gpu_layers"),
        ("[serving]\nidle_unload_s = nan", "serving.idle_unload_s"),
        ("[serving]\nidle_unload_s = -1", "serving.idle_unload_s"),
        ("[serving]\nload_timeout_s = 0", "serving.load_timeout_s"),
        ("[serving]\nrequest_timeout_s = inf", "serving.request_timeout_s"),
        ("[serving]\ndefault_model = ''", "serving.default_model"),
        ("[content]\nhub_endpoint = 'ftp://x'", "content.hub_endpoint"),
        ("[content]\npull_retries = -1", "content.pull_retries"),
        ("[log]\nlevel = 'loud'", "log.level: Invalid enum value"),
        ("not toml", "cannot be read as TOML"),
        ("[api\n", "cannot be read as TOML"),
    ],
)
def test_what_is_wrong_is_named(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    told = refused(file)
    assert says in told
    assert str(file) in told


def test_every_wrong_value_is_named_at_once(file: Path) -> None:
    file.write_text("[api]\nport = -1\n[serving]\nqueue = 0\nparallel = 0\n")
    told = refused(file)
    assert all(name in told for name in ("api.port", "serving.queue", "serving.parallel"))


def test_a_file_that_cannot_be_read_is_told(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(file)
    file.unlink()
    file.mkdir()
    assert "cannot be read" in refused(file)


def test_the_source_of_a_wrong_value_is_named(file: Path) -> None:
    file.write_text("[api]\nport = 1\n")
    assert refused(file, {"KITH_API_PORT": "x"}).startswith("KITH_API_PORT: api.port")
    told = refused(file, {"KITH_API_PORT": "2"}, {"api.port": "x"})
    assert told.startswith("the command line: api.port")


def test_a_value_in_place_of_a_section_is_told(file: Path) -> None:
    file.write_text("api = 3\n")
    assert "must be a section" in refused(file, {"KITH_API_PORT": "2"})
