"""One pull from its reference to a model in the library."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import trio

from node.config import ContentSettings
from node.content import names
from node.content.access import Access, Answer, Retry, judge
from node.content.add import Wish, event_facts, healthy, make_row
from node.content.disk import SPARE_BYTES, free_bytes, full_message
from node.content.download import Download, Patience, Watcher, other_sha256
from node.content.errors import NameTaken, PullFailed
from node.content.hashing import cid_of
from node.content.layout import Layout, lay_out
from node.content.meter import Meter
from node.content.model import Added, Fingerprint, Model, ModelFile
from node.content.refs import Ref
from node.content.shelf import Shelf
from node.content.sidecar import PartialFile, Sidecar
from node.content.staging import Placed, Staging
from protocols.unixfs import Built

_HEAD_UNKNOWN = (400, 405, 501)  # servers that do not answer HEAD


class Pull:
    """Run once. What is left in the staging folder afterwards is what another run goes on with."""

    def __init__(
        self,
        shelf: Shelf,
        ref: Ref,
        sidecar: Sidecar,
        staging: Staging,
        patience: Patience,
        meter: Meter,
    ) -> None:
        self._shelf = shelf
        self._settings: ContentSettings = shelf.settings
        self._ref = ref
        self._sidecar = sidecar
        self._staging = staging
        self._patience = patience
        self._meter = meter

    async def run(self, *, offline: bool) -> Added:
        """Fetch, verify, check and place the model. Raises `ContentError`, `BadModel`, `OSError`."""
        placed = await trio.to_thread.run_sync(self._staging.plan)
        if placed is not None:  # whole already: only the last step was not done
            return await self._finish_placed(placed)
        access = Access(
            self._ref,
            self._settings.hub_endpoint,
            self._settings.hub_token,
            offline=offline,
            stall_s=self._settings.pull_timeout_s,
        )
        access.received = self._meter.received
        try:
            known = await self._ask(access)
            if known is not None:
                return Added(known, known=True)
            built = await self._fetch_all(access)
        finally:
            with trio.move_on_after(2, shield=True):
                await access.aclose()
        return await self._take_in(built)

    async def _ask(self, access: Access) -> Model | None:
        """Learn the files' sizes and hashes; the model, if the library has these very bytes."""
        self._meter.doing = "asking for the size"
        await trio.to_thread.run_sync(self._staging.prepare)
        await trio.to_thread.run_sync(self._sidecar.settle, self._staging)
        for file in self._sidecar.files:
            size, sha256 = await self._probe(access, file)
            if file.pinned and sha256 and sha256 != file.sha256:
                raise PullFailed(other_sha256(self._shown(file), file.sha256, sha256), keep=False)
            if sha256 and sha256 != file.sha256:
                if file.sha256:  # other bytes than those that are here
                    (self._staging.files / file.name).unlink(missing_ok=True)
                file.sha256 = sha256
            file.size = file.size if size is None else size
        self._meter.total = self._sidecar.total
        known = self._shelf.by_sha256(file.sha256 for file in self._sidecar.files)
        if known is not None and await trio.to_thread.run_sync(known.unchanged):
            return known
        await trio.to_thread.run_sync(self._sidecar.save, self._staging)
        self._check_room()
        return None

    async def _probe(self, access: Access, file: PartialFile) -> tuple[int | None, str]:
        failures = 0
        while True:
            try:
                async with access.open("HEAD", file.url, {}, until_linked=True) as answer:
                    return self._read_probe(answer, file)
            except Retry as trouble:
                failures += 1
                if failures > self._patience.retries:
                    raise PullFailed(
                        f"{trouble}, after {failures} tries: pull again later"
                    ) from trouble
                wait_s = self._patience.wait_s(failures, trouble.after_s)
                self._meter.doing = f"{trouble}; trying again in {wait_s:.0f} s"
                await trio.sleep(wait_s)

    def _read_probe(self, answer: Answer, file: PartialFile) -> tuple[int | None, str]:
        response = answer.response
        if answer.size is not None and answer.sha256:
            return answer.size, answer.sha256
        redirected = str(response.request.url) != file.url
        if response.status_code in _HEAD_UNKNOWN or (redirected and response.status_code == 403):
            return answer.size, answer.sha256  # signed addresses may allow nothing but GET
        judge(answer, self._shown(file))
        length = response.headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdigit() else None
        return answer.size or size, answer.sha256

    def _check_room(self) -> None:
        total = self._sidecar.total
        if total is None:
            return
        needed = total - self._sidecar.present(self._staging) + SPARE_BYTES
        if free_bytes(self._staging.folder) < needed:
            raise PullFailed(
                full_message(self._staging.folder, needed)
                + ": free some space and pull again; what came so far is kept"
            )

    async def _fetch_all(self, access: Access) -> dict[str, tuple[Built, ModelFile]]:
        built: dict[str, tuple[Built, ModelFile]] = {}
        for file in self._sidecar.files:
            path = self._staging.files / file.name
            trusted = self._sidecar.trusted(file, self._staging)
            if file.size is not None and trusted > file.size:
                trusted = 0
            self._meter.doing = "checking what is already here" if trusted else ""
            download = Download(
                access,
                file,
                path,
                self._shown(file),
                self._patience,
                self._settings.max_model_bytes,
                Watcher(self._moved, self._say, lambda: self._sidecar.save(self._staging)),
            )
            tree, sha256 = await download.run(trusted)
            self._meter.total = self._sidecar.total
            was = Fingerprint.of(path)
            assert was is not None
            built[file.name] = (tree, ModelFile(file.name, was, sha256))
        return built

    async def _take_in(self, built: dict[str, tuple[Built, ModelFile]]) -> Added:
        """The bytes are whole: are they a model, and is it new here?"""
        self._meter.checking, self._meter.doing = True, "checking the model"
        path = self._staging.files / self._sidecar.files[0].name
        layout: Layout = await trio.to_thread.run_sync(lay_out, path)
        if set(layout.names) != set(built):
            raise PullFailed(
                f"{self._ref.text} is named like a model in {len(built)} parts and is none: pull it from"
                " another source",
                keep=False,
            )
        cid = cid_of({name: built[name][0] for name in layout.names})
        files = tuple(built[name][1] for name in layout.names)
        async with self._shelf.turn:
            known = await healthy(self._shelf, cid)
            if known is not None:
                return Added(known, known=True)
            wish = self._wish()
            try:
                row = make_row(self._shelf, layout, wish, cid, files, storage="own")
            except NameTaken:  # taken while the bytes came: rather another name than all again
                wish = self._wish(without_name=True)
                row = make_row(self._shelf, layout, wish, cid, files, storage="own")
            facts: dict[str, Any] = {**event_facts(row, wish), "hosts": dict(self._meter.received)}
            placed = Placed(row, "model.pulled", facts)
            return Added(await self._shelf.place(self._staging, placed, layout.facts))

    async def _finish_placed(self, placed: Placed) -> Added:
        self._meter.checking, self._meter.doing = True, "putting the model in place"
        await trio.to_thread.run_sync(self._staging.move, placed)
        layout = await trio.to_thread.run_sync(lay_out, placed.row.model_path)
        async with self._shelf.turn:
            return Added(await self._shelf.place(self._staging, placed, layout.facts))

    def _wish(self, *, without_name: bool = False) -> Wish:
        sidecar = self._sidecar
        return Wish(
            name=None if without_name else sidecar.name,
            label=sidecar.label,
            asked_by=sidecar.asked_by,
            source=self._ref.text,
            otherwise=sidecar.name or names.clean(self._ref.model_name),
        )

    def _moved(self, count: int) -> None:
        self._meter.done += count

    def _say(self, text: str) -> None:
        self._meter.doing = text

    def _shown(self, file: PartialFile) -> str:
        """The file in words: never with an URL's query, which may hold a secret."""
        return file.name if len(self._sidecar.files) > 1 else unquote(self._ref.text)
