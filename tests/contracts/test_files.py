"""Files on both databases and in the file storage: whose they are, their order, their end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from app.batches.blobs import BlobError, Blobs, MissingBlobError
from app.batches.files import Files, InUseError
from app.batches.model import File, Owner
from app.batches.service import BatchService
from app.batches.store import Batches, New
from app.db.store import Store
from app.tenancy.admin import AdminService
from app.tenancy.erasure import erase
from tests.contracts.ledger_kit import SECRETS, START, Clock

ACME = Owner("acme", "", "key_1")


@dataclass
class World:
    archive: BatchService
    clock: Clock

    @property
    def files(self) -> Files:
        return self.archive.files

    async def made(self, name: str, owner: Owner = ACME, **changes: object) -> File:
        self.clock.now += 1
        file = File(f"file-{name}", f"{name}.jsonl", "batch", 3, f"{owner.tenant}/{name}", self.clock.now)
        file = replace(file, **changes)  # type: ignore[arg-type]
        async with self.archive.blobs.write(file.blob) as sink:
            await sink.put(b"abc")
        await self.files.add(owner, file)
        return file

    async def names(self, **asked: object) -> list[str]:
        wanted = {"after": None, "limit": 100, "newest_first": True, "purpose": None} | asked
        found, _ = await self.files.page(ACME, **wanted)  # type: ignore[arg-type]
        return [file.id.removeprefix("file-") for file in found]


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    clock, store = Clock(), Store(database_url)
    yield World(BatchService(Files(store, clock), Blobs(str(tmp_path / "blobs")), Batches(store, clock)), clock)
    await store.close()


async def test_a_file_is_found_as_it_was_added_by_its_owner_alone(world: World) -> None:
    file = await world.made("a")
    assert file == await world.files.get(ACME, file.id)
    for stranger in (replace(ACME, tenant="globex"), replace(ACME, project="web")):
        assert await world.files.get(stranger, file.id) is None
        assert await world.files.delete(stranger, file.id) is None
        found, more = await world.files.page(stranger, after=None, limit=9, newest_first=True, purpose=None)
        assert ([], False) == (found, more)
    assert file == await world.files.get(replace(ACME, key_id="key_2"), file.id)


async def test_a_name_that_no_database_takes_is_no_files(world: World) -> None:
    await world.made("a")
    assert await world.files.get(ACME, "file\0-b") is None
    assert await world.files.delete(ACME, "\0") is None
    assert [] == await world.names(after="\0")
    assert [] == await world.names(purpose="\0")
    assert await world.archive.batches.get(ACME, "\0") is None
    assert await world.archive.batches.cancel(ACME, "\0") is None


async def test_files_come_page_by_page_in_either_order_and_by_purpose(world: World) -> None:
    for name in "abcde":
        await world.made(name, purpose="batch" if name != "c" else "user_data")
    await world.made("x", replace(ACME, tenant="globex"))
    assert list("edcba") == await world.names()
    assert list("abcde") == await world.names(newest_first=False)
    assert list("ba") == await world.names(after="file-c")
    assert list("de") == await world.names(after="file-c", newest_first=False)
    assert list("edba") == await world.names(purpose="batch")
    page, more = await world.files.page(ACME, after=None, limit=2, newest_first=True, purpose=None)
    assert (2, True) == (len(page), more)
    page, more = await world.files.page(ACME, after="file-c", limit=2, newest_first=True, purpose=None)
    assert (2, False) == (len(page), more)


async def test_files_of_the_same_moment_are_neither_skipped_nor_repeated(world: World) -> None:
    for name in "abcde":
        await world.made(name, created=START)
    seen: list[str] = []
    while page := await world.names(after=f"file-{seen[-1]}" if seen else None, limit=2):
        seen += page
    assert sorted("abcde") == sorted(seen)


async def test_an_expired_file_is_gone_at_once_and_its_bytes_with_the_next_sweep(world: World) -> None:
    file = await world.made("a", expires=START + 100)
    kept = await world.made("b")
    await world.archive.sweep()
    assert b"abc" == await world.archive.blobs.read(file.blob, 0, 3)
    world.clock.now = START + 100
    assert await world.files.get(ACME, file.id) is None
    await world.archive.sweep()
    with pytest.raises(MissingBlobError):
        await world.archive.blobs.read(file.blob, 0, 3)
    assert b"abc" == await world.archive.blobs.read(kept.blob, 0, 3)


async def test_the_input_of_an_open_batch_can_neither_be_deleted_nor_swept_away(world: World) -> None:
    file = await world.made("a", expires=START + 100)
    batch = await world.archive.batches.create(ACME, New("/v1/chat/completions", file, {}))
    with pytest.raises(InUseError, match=batch.id):
        await world.files.delete(ACME, file.id)
    world.clock.now = START + 100
    await world.archive.sweep()
    assert b"abc" == await world.archive.blobs.read(file.blob, 0, 3)


async def test_an_erased_tenants_files_and_batches_are_gone_and_nobody_elses(world: World) -> None:
    mine, theirs = await world.made("mine"), await world.made("theirs", replace(ACME, tenant="globex"))
    store = world.files._store
    admin_service = AdminService(store, SECRETS, world.clock)
    await admin_service.create_tenant("acme", actor="test")
    batch = await world.archive.batches.create(ACME, New("/v1/chat/completions", mine, {}))
    await erase(store, SECRETS, "acme", "test", world.clock())
    assert await world.files.get(ACME, mine.id) is None
    assert await world.archive.batches.get(ACME, batch.id) is None
    assert await world.files.get(replace(ACME, tenant="globex"), theirs.id) == theirs
    await world.archive.sweep()
    with pytest.raises(MissingBlobError):
        await world.archive.blobs.read(mine.blob, 0, 3)


async def test_a_blob_that_is_not_finished_leaves_nothing_behind(tmp_path: Path) -> None:
    async def broken() -> None:
        async with Blobs(str(tmp_path / "blobs")).write("acme/a") as sink:
            await sink.put(b"x" * 3_000_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken()
    assert [] == files_in(tmp_path)


async def test_a_blob_is_read_piece_by_piece_and_in_part_in_any_storage_that_fsspec_knows(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    for url in (str(tmp_path / "blobs"), f"file://{tmp_path}/more", "memory://penstock-test"):
        blobs = Blobs(url)
        async with blobs.write("acme/a") as sink:
            for at in range(0, len(data), 100_000):
                await sink.put(data[at : at + 100_000])
        pieces = [piece async for piece in blobs.stream("acme/a")]
        assert len(pieces) > 1
        assert data == b"".join(pieces)
        assert data[1000:1010] == await blobs.read("acme/a", 1000, 10)
        await blobs.delete("acme/a")
        await blobs.delete("acme/a")
        with pytest.raises(MissingBlobError):
            await blobs.read("acme/a", 0, 1)


async def test_a_storage_that_cannot_be_used_says_why_and_hides_its_password(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(BlobError, match="taken"):
        async with Blobs(str(tmp_path / "taken")).write("acme/a"):
            pass
    with pytest.raises(BlobError) as unknown:
        await Blobs("nosuch://user:secret@host/x").read("a", 0, 1)
    assert "secret" not in str(unknown.value)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
