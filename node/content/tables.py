"""The library's tables: models in `state.db`, what can be read from the files again in `index.db`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlite_utils

from models.facts import ModelFacts
from node.content.model import Kind, Model, ModelFile, Storage
from node.store import Migration


class Row(msgspec.Struct, frozen=True):
    """A model as it is kept: all of it but the facts."""

    name: str
    cid: str
    kind: Kind
    folder: str
    opened: str
    files: tuple[ModelFile, ...]
    storage: Storage
    source: str
    label: str
    added_at: float
    starter: bool = False

    @property
    def model_path(self) -> Path:
        return Path(self.folder) / self.opened

    def model(self, facts: ModelFacts) -> Model:
        folder = Path(self.folder)
        return Model(
            name=self.name,
            cid=self.cid,
            facts=facts,
            path=self.model_path,
            folder=folder,
            parts=self.files,
            storage=self.storage,
            source=self.source,
            label=self.label,
            added_at=self.added_at,
            starter=self.starter,
        )

    @classmethod
    def of(cls, model: Model) -> Row:
        return cls(
            name=model.name,
            cid=model.cid,
            kind=model.kind,
            folder=str(model.folder),
            opened=model.path.relative_to(model.folder).as_posix(),
            files=model.parts,
            storage=model.storage,
            source=model.source,
            label=model.label,
            added_at=model.added_at,
            starter=model.starter,
        )


def _create_models(tables: sqlite_utils.Database) -> None:
    tables["models"].create(
        {
            "name": str,
            "cid": str,
            "kind": str,
            "folder": str,
            "opened": str,
            "files": str,
            "storage": str,
            "source": str,
            "label": str,
            "added_at": float,
            "starter": int,
        },
        pk="name",
        not_null={"cid", "kind", "folder", "opened", "files", "storage", "source", "label"},
    )
    tables["models"].create_index(["cid"])
    tables["model_choices"].create({"what": str, "name": str}, pk="what", not_null={"name"})


def _create_facts(tables: sqlite_utils.Database) -> None:
    tables["model_facts"].create({"cid": str, "facts": str}, pk="cid", not_null={"facts"})


MIGRATIONS = (Migration("content/0001-models", _create_models),)
INDEX_MIGRATIONS = (Migration("content/0001-facts", _create_facts),)


def read_rows(tables: sqlite_utils.Database) -> list[Row]:
    """Every model, oldest first."""
    rows = tables.query("SELECT * FROM models ORDER BY added_at, name")
    return [
        msgspec.convert(
            {**row, "files": msgspec.json.decode(row["files"]), "starter": bool(row["starter"])},
            Row,
        )
        for row in rows
    ]


def write_row(tables: sqlite_utils.Database, row: Row) -> None:
    """Insert the model, or replace the one of this name."""
    files = msgspec.json.encode(row.files).decode()
    plain = {**msgspec.to_builtins(row), "files": files, "starter": int(row.starter)}
    _replace(tables, "models", plain)


def delete_row(tables: sqlite_utils.Database, name: str) -> None:
    tables.execute("DELETE FROM models WHERE name = ?", [name])


def read_default(tables: sqlite_utils.Database) -> str:
    """The name that was chosen as default, or ""."""
    found = list(tables.query("SELECT name FROM model_choices WHERE what = 'default'"))
    return str(found[0]["name"]) if found else ""


def write_default(tables: sqlite_utils.Database, name: str) -> None:
    _replace(tables, "model_choices", {"what": "default", "name": name})


def read_facts(tables: sqlite_utils.Database) -> dict[str, ModelFacts]:
    """Facts by CID. What an older program wrote and this one cannot read is left out: it is read anew."""
    found: dict[str, ModelFacts] = {}
    for row in tables.query("SELECT cid, facts FROM model_facts"):
        try:
            found[row["cid"]] = msgspec.json.decode(row["facts"], type=ModelFacts)
        except (msgspec.DecodeError, TypeError):
            continue
    return found


def write_facts(tables: sqlite_utils.Database, facts: Sequence[tuple[str, ModelFacts]]) -> None:
    for cid, fact in facts:
        row = {"cid": cid, "facts": msgspec.json.encode(fact).decode()}
        _replace(tables, "model_facts", row)


def _replace(tables: sqlite_utils.Database, table: str, row: dict[str, Any]) -> None:
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    tables.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", [*row.values()])
