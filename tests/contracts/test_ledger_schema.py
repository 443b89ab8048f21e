"""The migrations make exactly the tables that the code uses, and leave them be when run again."""

from __future__ import annotations

import asyncio
import sqlite3

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from app.adapters.sql.database import connect, parse
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.migrations import upgrade
from app.adapters.sql.schema import metadata


async def test_the_migrated_tables_are_those_of_the_schema(database_url: str) -> None:
    ledger = SqlLedger(database_url)
    assert await ledger.ready()
    await ledger.close()

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    database = connect(parse(database_url), 5)
    assert await database.read(differences) == []
    await database.close()


async def test_upgrading_again_keeps_what_is_there(database_url: str) -> None:
    ledger = SqlLedger(database_url)
    await ledger.ensure_tenant("acme")
    await asyncio.to_thread(upgrade, database_url)
    assert [tenant.id for tenant in await ledger.tenants()] == ["acme"]
    await ledger.close()


def test_sqlite_is_left_in_wal_mode_so_that_readers_never_wait(sqlite_url: str) -> None:
    upgrade(sqlite_url)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
