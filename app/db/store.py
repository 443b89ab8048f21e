"""A database that is open and up to date: what ledger, admin service and outbox share. they -> [store] -> SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection

from app.db import database
from app.db.migrations import migrate

T = TypeVar("T")


class Store:
    """SQLite or PostgreSQL. Opens, and brings the tables up to date, at its first use.

    Every method raises LedgerError, a sentence for the operator, when the database can't do it.
    """

    def __init__(self, url: str, patience: float = 5.0) -> None:
        """url: sqlite:///folder/ledger.db or postgresql://user:password@host/name.

        patience: seconds to wait for a lock or a connection. Raises LedgerError for an unusable url or folder.
        """
        self.url: URL = database.parse(url)
        self._database = database.connect(self.url, patience)
        self._opening = asyncio.Lock()
        self._opened = False

    async def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, run in one transaction that may write."""
        await self._open()
        return await database.persist(self.url, lambda: self._database.write(work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, run beside writers."""
        await self._open()
        return await database.persist(self.url, lambda: self._database.read(work))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._database.close()

    async def _open(self) -> None:
        if self._opened:
            return
        async with self._opening:
            if not self._opened:
                await database.persist(self.url, lambda: asyncio.to_thread(migrate, self.url))
                self._opened = True
