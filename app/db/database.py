"""Run functions on the database: each one transaction, explained when it fails. ledger -> [database] -> SQL.

Both databases take the same synchronous function of a Connection. SQLite runs it whole on a thread of its own:
one hop per transaction, where an async driver takes four per statement. PostgreSQL runs it on asyncpg.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.core.refusals import LedgerError
from app.db.errors import FAULTS, clashed, explain, gone, make_folder

T = TypeVar("T")
_PAUSES = (0.05, 0.2, 0.5)  # seconds between attempts on a connection that failed


class Database(Protocol):
    """Runs a function in one transaction and returns what it returns. Raises what the function raised."""

    url: URL

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run with the right to write: on SQLite, the only writer."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run beside writers, never waiting for them."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


class SqliteDatabase:
    """SQLite in WAL mode: one thread and connection that writes, one that reads."""

    def __init__(self, url: URL, patience: float) -> None:
        """patience: seconds to wait for another process's write."""
        self.url = url
        self._lanes = {
            begin: (sqlite_engine(url, begin, patience), ThreadPoolExecutor(1, f"ledger-{begin.lower()}"))
            for begin in ("IMMEDIATE", "DEFERRED")
        }

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run on the writing thread, holding the database's one write lock."""
        return await self._run("IMMEDIATE", work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run on the reading thread."""
        return await self._run("DEFERRED", work)

    async def _run(self, begin: str, work: Callable[[Connection], T]) -> T:
        engine, thread = self._lanes[begin]

        def transaction() -> T:
            with engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(thread, transaction)

    async def close(self) -> None:
        """Close both connections, each on its own thread."""
        for engine, thread in self._lanes.values():
            await asyncio.get_running_loop().run_in_executor(thread, engine.dispose)
            thread.shutdown()


class PostgresDatabase:
    """PostgreSQL through asyncpg."""

    def __init__(self, url: URL, patience: float) -> None:
        """patience: seconds to wait for a connection, a row's lock or a statement."""
        self.url = url
        self._engine = postgres_engine(url, patience, pool_size=4)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run in one transaction."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run in one transaction."""
        return await self.write(work)

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


def sqlite_engine(url: URL, begin: str, patience: float) -> Engine:
    """Return an engine whose transactions open with `BEGIN <begin>`, waiting `patience` seconds for a lock."""
    engine = create_engine(url, connect_args={"isolation_level": None}, json_serializer=to_json)

    def connect(raw: Any, _record: object) -> None:
        raw.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        raw.execute("PRAGMA synchronous = NORMAL")  # in WAL mode: safe from crashes of the process and the file
        raw.execute("PRAGMA foreign_keys = ON")

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {begin}")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", start)
    return engine


def postgres_engine(url: URL, patience: float, **pool: Any) -> AsyncEngine:
    """Return an asyncpg engine that waits `patience` seconds for a connection, a lock or a statement."""
    settings = {"lock_timeout": str(int(patience * 1000)), "application_name": "penstock"}
    return create_async_engine(
        url,
        **pool,
        json_serializer=to_json,
        connect_args={"timeout": patience, "command_timeout": patience * 2, "server_settings": settings},
    )


def parse(url: str) -> URL:
    """Return the URL with the driver used here. Raises LedgerError for a database other than the two."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = make_url("unknown://")
    kind = parsed.drivername.split("+")[0]
    if kind in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+asyncpg")
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite")
    # an unparsed URL may hold a password, so it is not repeated
    msg = "The ledger's url is not usable: choose sqlite:///folder/ledger.db or postgresql://user:password@host/name"
    raise LedgerError(msg)


def connect(url: URL, patience: float) -> Database:
    """Return the database behind `url`; nothing is opened yet. Raises LedgerError when its folder can't be made."""
    if url.drivername != "sqlite":
        return PostgresDatabase(url, patience)
    make_folder(Path(str(url.database)))
    return SqliteDatabase(url, patience)


async def persist(url: URL, attempt: Callable[[], Awaitable[T]]) -> T:
    """Return the first attempt that is not cut off by a lost connection or another writer.

    Raises LedgerError after the last one, and at once for everything else the database says.
    """
    for pause in (*_PAUSES, None):
        try:
            return await attempt()
        except FAULTS as error:
            if pause is None or not (gone(error) or clashed(error)):
                raise explain(error, url) from error
            await asyncio.sleep(pause)
    raise AssertionError  # the last round returns or raises


def to_json(value: object) -> str:
    """Return JSON of what stages put on a trail: mappings and sets too, anything else as its text, never NaN."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps({"unserializable": repr(value)})


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else str(value)
