"""Bring the database's tables up to date. ledger, CLI -> [migrations] -> SQL.

One file in `versions` for each step, run by Alembic out of the installed package: no alembic.ini, no command line.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.pool import NullPool

from app.core.refusals import LedgerError
from app.db.database import parse, persist, postgres_engine, sqlite_engine
from app.db.errors import make_folder

_PATIENCE = 30.0  # seconds to wait for another gateway that is at it
_LOCK = 7_316_044_212  # PostgreSQL advisory lock: any number, the same in every gateway


def upgrade(url: str) -> None:
    """Bring the tables to this version's state, from where no event loop runs. Raises LedgerError."""
    parsed = parse(url)
    asyncio.run(persist(parsed, lambda: asyncio.to_thread(migrate, parsed)))


def migrate(url: URL) -> None:
    """Bring the tables to this version's state; what is up to date is left alone. Many processes may do it at once.

    On a thread without an event loop. Raises what the database raises.
    """
    if url.drivername == "sqlite":
        _sqlite(url)
    else:
        asyncio.run(_postgres(url))


def _sqlite(url: URL) -> None:
    make_folder(Path(str(url.database)))
    engine = sqlite_engine(url, "IMMEDIATE", _PATIENCE)  # the write lock is the lock
    try:
        _to_wal(engine)
        with engine.begin() as connection:
            run(connection)
    finally:
        engine.dispose()


def _to_wal(engine: Engine) -> None:
    # Stays with the file. SQLite answers "locked" here without waiting, when another process is at the same.
    until = time.monotonic() + _PATIENCE
    raw = engine.raw_connection()
    try:
        while True:
            try:
                raw.cursor().execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return
    finally:
        raw.close()


async def _postgres(url: URL) -> None:
    engine = postgres_engine(url, _PATIENCE, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
        await connection.run_sync(run)


def run(connection: Connection, target: str = "head") -> None:
    """Run the steps up to `target` in the connection's transaction.

    Raises LedgerError: a newer version of Penstock has changed the tables.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        raise LedgerError(
            f"a newer version of Penstock has changed this database's tables (step {found}): start that version, or "
            "put back the backup that was taken before it"
        )
    command.upgrade(config, target)
