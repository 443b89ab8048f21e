"""Which files there are, and whose.  API routes, worker -> [files] -> SQL. Their bytes are in the file storage.

Every method raises LedgerError. An expired file is gone at once; its bytes go with the next `expired`.
"""

from __future__ import annotations

import secrets as random
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, exists, func, insert, or_, select, tuple_

from app.batches.model import OPEN, File, Owner
from app.core.identifiers import known
from app.db.schema import batches, files, tenants
from app.db.store import Store

_USED = exists().where(batches.c.input_file == files.c.id, batches.c.status.in_(OPEN))


class InUseError(Exception):
    """The file is the input of a batch that has not ended."""

    def __init__(self, batch: str) -> None:
        super().__init__(batch)
        self.batch = batch


class FullError(Exception):
    """The tenant's files would be larger than they may be."""


def new_id() -> str:
    """A file's id."""
    return f"file-{random.token_hex(12)}"


def new_blob(id_: str) -> str:
    """Where a file's bytes are put: never twice the same place, and no folder with all of them."""
    return f"{id_[-2:]}/{id_}-{random.token_hex(4)}"


class Files:
    """clock: Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def add(self, owner: Owner, file: File, most: int | None = None) -> None:
        """Its blob is written. most: bytes of all the tenant's files. Raises FullError."""

        def work(connection: Connection) -> None:
            connection.execute(select(tenants.c.id).where(tenants.c.id == owner.tenant).with_for_update())
            if most is not None and int(connection.scalar(self._bytes(owner.tenant)) or 0) + file.bytes > most:
                raise FullError
            put(connection, owner, file)

        await self._store.write(work)

    async def used(self, tenant: str) -> int:
        """Bytes of all its files, whichever project's."""
        query = self._bytes(tenant)
        return int(await self._store.read(lambda connection: connection.scalar(query)) or 0)

    async def get(self, owner: Owner, id_: str) -> File | None:
        """None: there is none, or it is another's."""
        query = self._owned(owner).where(files.c.id == storable(id_))
        row = await self._store.read(lambda connection: connection.execute(query).first())
        return None if row is None else _file(row)

    async def page(
        self, owner: Owner, *, after: str | None, limit: int, newest_first: bool, purpose: str | None
    ) -> tuple[Sequence[File], bool]:
        """Up to `limit` files behind the one called `after`, and whether there are more."""
        query = self._owned(owner)
        if purpose is not None:
            query = query.where(files.c.purpose == storable(purpose))
        query = behind(query, files, after, limit, newest_first=newest_first)
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        return [_file(row) for row in rows[:limit]], len(rows) > limit

    async def delete(self, owner: Owner, id_: str) -> str | None:
        """Its blob, to be removed now; None: there is no such file. Raises InUseError."""
        found = self._owned(owner).where(files.c.id == storable(id_)).with_for_update()
        using = select(batches.c.id).where(batches.c.input_file == storable(id_), batches.c.status.in_(OPEN)).limit(1)

        def work(connection: Connection) -> str | None:
            row = connection.execute(found).first()
            if row is None:
                return None
            if batch := connection.scalar(using):
                raise InUseError(str(batch))
            connection.execute(delete(files).where(files.c.id == id_))
            return str(row.blob)

        return await self._store.write(work)

    async def expired(self) -> list[tuple[str, str]]:
        """Id and blob of files to remove; the input of a batch that has not ended stays until it has."""
        query = select(files.c.id, files.c.blob).where(files.c.expires <= self._clock(), ~_USED).limit(100)
        return [(row.id, row.blob) for row in await self._store.read(lambda c: c.execute(query).all())]

    async def forget(self, ids: Sequence[str]) -> None:
        """Their blobs are removed."""
        if ids:
            await self._store.write(lambda connection: connection.execute(delete(files).where(files.c.id.in_(ids))))

    def _bytes(self, tenant: str) -> Select[Any]:
        return select(func.sum(files.c.bytes)).where(files.c.tenant == tenant, self._live())

    def _live(self) -> ColumnElement[bool]:
        return or_(files.c.expires.is_(None), files.c.expires > self._clock())

    def _owned(self, owner: Owner) -> Select[Any]:
        return select(files).where(files.c.tenant == owner.tenant, files.c.project == owner.project, self._live())


def put(connection: Connection, owner: Owner, file: File) -> None:
    """Write the file's row."""
    connection.execute(
        insert(files).values(
            id=file.id,
            tenant=owner.tenant,
            project=owner.project,
            filename=file.filename,
            purpose=file.purpose,
            bytes=file.bytes,
            blob=file.blob,
            created=file.created,
            expires=file.expires,
        )
    )


def storable(text: str) -> str:
    """What a caller sent, as a database takes it: nothing is called by what is no id."""
    return text if known(text) else ""


def behind(query: Select[Any], table: Any, after: str | None, limit: int, *, newest_first: bool) -> Select[Any]:
    """One row more than `limit`, behind the row called `after`."""
    place = tuple_(table.c.created, table.c.id)
    if after is not None:
        mark = select(table.c.created, table.c.id).where(table.c.id == storable(after)).subquery()
        at = tuple_(select(mark.c.created).scalar_subquery(), select(mark.c.id).scalar_subquery())
        query = query.where(place < at if newest_first else place > at)
    order = (table.c.created.desc(), table.c.id.desc()) if newest_first else (table.c.created, table.c.id)
    return query.order_by(*order).limit(limit + 1)


def _file(row: Any) -> File:
    return File(row.id, row.filename, row.purpose, row.bytes, row.blob, row.created, row.expires)
