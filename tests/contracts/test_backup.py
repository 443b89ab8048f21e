"""A backup, taken as docs/operate/backup.md says and restored: nothing is missing, and all of it verifies."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from app.audit.log import AuditLog
from app.db.store import Store
from tests.contracts.ledger_kit import SECRETS, SqlWorld, sql_world
from tests.postgres import database, program


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[SqlWorld]:
    """Two tenants with four settled calls each."""
    async with sql_world(database_url) as made:
        for name in ("acme", "other"):
            who = await made.caller(name=name)
            for number in range(1, 5):
                await made.settle(who, f"{name}_{number}", "1", created=made.clock())
        yield made


async def test_a_restored_backup_verifies_and_goes_on(world: SqlWorld, database_url: str, tmp_path: Path) -> None:
    before = await AuditLog(world.ledger.store, SECRETS, world.clock).verify()
    if database_url.startswith("sqlite"):
        copy = tmp_path / "restored" / "penstock.db"
        copy.parent.mkdir()
        with (
            closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as live,
            closing(sqlite3.connect(copy)) as target,
        ):
            live.backup(target)
        await verified(f"sqlite:///{copy}", world, before.records)
        return
    dump = tmp_path / "penstock.dump"
    await called("pg_dump", "--format=custom", f"--file={dump}", database_url)
    with database(f"{database_url.rpartition('/')[0]}/postgres", "restored") as empty:
        await called("pg_restore", "--exit-on-error", f"--dbname={empty}", str(dump))
        await verified(empty, world, before.records)


async def verified(url: str, world: SqlWorld, records: int) -> None:
    """The restored database has every record, and takes the next call on top of them."""
    restored = Store(url)
    try:
        found = await AuditLog(restored, SECRETS, world.clock).verify()
        assert (records, ()) == (found.records, found.faults)
        assert records > 8
    finally:
        await restored.close()
    async with sql_world(url) as again:
        who = await again.caller(name="third")
        await again.settle(who, "third_1", "1", created=again.clock())
        found = await AuditLog(again.ledger.store, SECRETS, again.clock).verify()
        assert not found.faults
        assert found.records > records


async def called(name: str, *arguments: str) -> None:
    await asyncio.to_thread(
        subprocess.run, [str(program(name)), *arguments], check=True, timeout=60, capture_output=True
    )
