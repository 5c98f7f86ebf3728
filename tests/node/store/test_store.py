"""A home's databases: made, migrated after a backup, refused when they are newer."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils

from node.home import Home, HomeError
from node.store import Migration, StoreError, StoreFull, open_store
from node.store import store as store_module
from tests.node.store.disks import no_file_grows


def make_notes(tables: sqlite_utils.Database) -> None:
    tables["notes"].create({"id": int, "text": str}, pk="id")


def add_colour(tables: sqlite_utils.Database) -> None:
    tables["notes"].add_column("colour", str, not_null_default="blue")


def fails_half_way(tables: sqlite_utils.Database) -> None:
    tables["notes"].add_column("half", str)
    raise RuntimeError("half way")


FIRST = Migration("test/0001-notes", make_notes)
SECOND = Migration("test/0002-colour", add_colour)
BROKEN = Migration("test/0003-broken", fails_half_way)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def write_note(home: Home, *migrations: Migration) -> None:
    with open_store(home, migrations, []) as store:
        store.state.run_sync(lambda tables: tables["notes"].insert({"text": "mine"}))


def columns(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[1] for row in connection.execute("PRAGMA table_info(notes)")]


def backups(home: Home) -> list[Path]:
    return sorted(home.backups.iterdir())


def test_a_new_home_is_made_without_a_backup_and_says_its_version(home: Home) -> None:
    write_note(home, FIRST)
    assert backups(home) == []
    assert home.version_file.read_text() == "1\n"


def test_each_migration_runs_once(home: Home) -> None:
    write_note(home, FIRST, SECOND)
    write_note(home, FIRST, SECOND)
    assert columns(home.state_db) == ["id", "text", "colour"]
    assert backups(home) == []


def test_an_older_home_is_backed_up_and_then_migrated(home: Home) -> None:
    write_note(home, FIRST)
    write_note(home, FIRST, SECOND)
    (folder,) = backups(home)
    assert columns(folder / "state.db") == ["id", "text"]
    with closing(sqlite3.connect(folder / "state.db")) as copy:
        assert copy.execute("SELECT text FROM notes").fetchall() == [("mine",)]
    assert columns(home.state_db) == ["id", "text", "colour"]
    assert (folder / "index.db").exists()
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_migration_that_fails_changes_nothing(home: Home) -> None:
    write_note(home, FIRST)
    with pytest.raises(RuntimeError, match="half way"):
        write_note(home, FIRST, BROKEN)
    assert columns(home.state_db) == ["id", "text"]
    assert len(backups(home)) == 1
    write_note(home, FIRST, SECOND)
    assert columns(home.state_db) == ["id", "text", "colour"]


def test_a_newer_home_is_refused_and_untouched(home: Home) -> None:
    write_note(home, FIRST)
    before = home.state_db.read_bytes()
    home.version_file.write_text("2\n")
    with pytest.raises(HomeError, match=r"newer version.*update the program"):
        write_note(home, FIRST, SECOND)
    assert home.state_db.read_bytes() == before
    assert backups(home) == []


def test_a_home_with_tables_that_this_program_does_not_know_is_refused_and_untouched(
    home: Home,
) -> None:
    write_note(home, FIRST, SECOND)
    before = home.state_db.read_bytes()
    with pytest.raises(HomeError, match=r"newer version \(it holds test/0002-colour\)"):
        write_note(home, FIRST)
    assert home.state_db.read_bytes() == before
    assert backups(home) == []


def test_a_home_of_an_older_layout_is_backed_up_and_raised(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_note(home, FIRST)
    monkeypatch.setattr(store_module, "HOME_VERSION", 2)
    write_note(home, FIRST)
    assert len(backups(home)) == 1
    assert home.version_file.read_text() == "2\n"


def test_a_home_that_lost_its_version_counts_as_the_first_layout(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_note(home, FIRST)
    home.version_file.unlink()
    monkeypatch.setattr(store_module, "HOME_VERSION", 2)
    write_note(home, FIRST)
    assert len(backups(home)) == 1


@pytest.mark.parametrize("text", ["", "one", "1.5", "\N{SNOWMAN}"])
def test_a_version_that_is_no_number_is_told(home: Home, text: str) -> None:
    write_note(home, FIRST)
    home.version_file.write_text(text, encoding="utf-8")
    with pytest.raises(HomeError, match="not a version number"):
        write_note(home, FIRST)


def test_no_room_for_the_backup_means_no_migration(home: Home) -> None:
    write_note(home, FIRST)
    with no_file_grows(1000), pytest.raises(StoreFull):
        write_note(home, FIRST, SECOND)
    assert columns(home.state_db) == ["id", "text"]
    assert backups(home) == []
    write_note(home, FIRST, SECOND)
    assert columns(home.state_db) == ["id", "text", "colour"]


@pytest.mark.parametrize("content", [b"no database at all" * 100, None], ids=["text", "cut"])
def test_a_damaged_state_is_told_and_left_as_it_is(home: Home, content: bytes | None) -> None:
    write_note(home, FIRST)
    damaged = home.state_db.read_bytes()[:5000] if content is None else content
    home.state_db.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"state\.db is damaged.*backup"):
        write_note(home, FIRST)
    assert home.state_db.read_bytes() == damaged


@pytest.mark.parametrize("kept", [0, 1800, 4096, 6000])
def test_a_damaged_index_is_made_again_and_the_state_stays(home: Home, kept: int) -> None:
    """Wherever the damage is: in the head of the file, or in a page that is read later."""
    with open_store(home, [FIRST], [FIRST]) as store:
        store.state.run_sync(lambda tables: tables["notes"].insert({"text": "mine"}))
        store.index.run_sync(lambda tables: tables["notes"].insert({"text": "can be read again"}))
    sound = home.index_db.read_bytes()
    home.index_db.write_bytes(sound[:kept] + b"\xff" * (len(sound) - kept))
    with open_store(home, [FIRST], [FIRST]) as store:
        assert store.index.run_sync(lambda tables: tables["notes"].count) == 0
        assert store.state.run_sync(lambda tables: tables["notes"].count) == 1


def test_what_a_killed_backup_left_goes_with_the_next(home: Home) -> None:
    write_note(home, FIRST)
    left = home.backups / ".before-migration-20260101-000000-abcd.partial"
    left.mkdir()
    (left / "state.db").write_bytes(b"half")
    write_note(home, FIRST, SECOND)
    assert [path.name[0] for path in backups(home)] == ["b"]
