"""Batches as their owners see them: created, looked at, cancelled.  API routes -> [batches] -> SQL <- batch_work.

Every method raises LedgerError.
"""

from __future__ import annotations

import secrets as random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from app.batches.files import behind, storable
from app.batches.model import OPEN, Batch, File, Owner
from app.batches.scheduling import MESSAGES, WINDOW
from app.core.ports import Principal
from app.db.schema import batch_lines, batches
from app.db.store import Store
from app.tenancy.identity import by_id


@dataclass(frozen=True, slots=True)
class New:
    """What is asked for. output_lives: seconds until its output files expire; None: never. kind: how its id begins."""

    endpoint: str
    file: File
    meta: Mapping[str, str]
    output_lives: int | None = None
    kind: str = "batch"


class Batches:
    """clock: Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def create(self, owner: Owner, new: New) -> Batch:
        """A new batch, to be validated."""
        now, id_ = self._clock(), f"{new.kind}_{random.token_hex(12)}"
        values: dict[str, Any] = {
            "id": id_,
            "tenant": owner.tenant,
            "project": owner.project,
            "key_id": owner.key_id,
            "endpoint": new.endpoint,
            "input_file": new.file.id,
            "blob": new.file.blob,
            "meta": dict(new.meta),
            "status": "validating",
            "created": now,
            "expires": now + WINDOW,
            "moments": {},
            "errors": [],
            "output_lives": new.output_lives,
            **dict.fromkeys(("total", "completed", "failed"), 0),
            **dict.fromkeys(("due", "served"), 0.0),
        }
        await self._store.write(lambda connection: connection.execute(insert(batches).values(**values)))
        return Batch(id_, new.endpoint, new.file.id, "validating", now, now + WINDOW, {}, dict(new.meta))

    async def get(self, owner: Owner, id_: str) -> Batch | None:
        """None: there is none, or it is another's."""
        query = _owned(owner).where(batches.c.id == storable(id_))
        found = await self._store.read(lambda connection: _read(connection, query))
        return found[0] if found else None

    async def page(
        self, owner: Owner, *, after: str | None, limit: int, before: str | None = None, messages: bool = False
    ) -> tuple[Sequence[Batch], bool]:
        """Up to `limit` batches behind the one called `after` or ahead of `before`, newest first, and whether there are
        more. messages: of Anthropic's API, else of OpenAI's.
        """
        of = batches.c.endpoint == MESSAGES if messages else batches.c.endpoint != MESSAGES
        query = behind(_owned(owner).where(of), batches, before or after, limit, newest_first=before is None)
        found = await self._store.read(lambda connection: _read(connection, query))
        shown = found[:limit]
        return shown if before is None else shown[::-1], len(found) > limit

    async def cancel(self, owner: Owner, id_: str) -> Batch | None:
        """The batch, `cancelling`, or as it is where it has ended or is about to; None: there is none."""
        query = _owned(owner).where(batches.c.id == storable(id_))
        now = self._clock()

        def work(connection: Connection) -> list[Batch]:
            row = connection.execute(query.with_for_update()).first()
            if row is not None and row.status in {"validating", "in_progress"}:
                moments = {**row.moments, "cancelling": now}
                # Whoever reads its input finds that it is no longer theirs.
                if row.status == "validating":
                    connection.execute(delete(batch_lines).where(batch_lines.c.batch == id_))
                values = {"status": "cancelling", "moments": moments, "worker": None, "lease": None}
                connection.execute(update(batches).where(batches.c.id == id_).values(**values))
            return _read(connection, query)

        found = await self._store.write(work)
        return found[0] if found else None

    async def delete(self, owner: Owner, id_: str) -> bool:
        """Forget a batch that has ended; whether there was one. Its files are for the caller to remove."""
        ended = (batches.c.id == storable(id_), batches.c.status.not_in(OPEN))
        mine = (batches.c.tenant == owner.tenant, batches.c.project == owner.project)

        def work(connection: Connection) -> bool:
            return connection.execute(delete(batches).where(*mine, *ended)).rowcount > 0

        return await self._store.write(work)

    async def whose(self, key_id: str) -> Principal | None:
        """The key's owner now; None: the key is disabled, expired or gone."""
        now = self._clock()
        found = await self._store.read(lambda connection: by_id(connection, key_id, now))
        return None if found is None or (found.expires is not None and found.expires <= now) else found.who


def _owned(owner: Owner) -> Select[Any]:
    return select(batches).where(batches.c.tenant == owner.tenant, batches.c.project == owner.project)


def _read(connection: Connection, query: Select[Any]) -> list[Batch]:
    rows = connection.execute(query).all()
    live = [row.id for row in rows if row.status in OPEN]
    counts: dict[str, dict[str, int]] = {}
    if live:
        by_state = (
            select(batch_lines.c.batch, batch_lines.c.state, func.count().label("lines"))
            .where(batch_lines.c.batch.in_(live))
            .group_by(batch_lines.c.batch, batch_lines.c.state)
        )
        for row in connection.execute(by_state):
            counts.setdefault(row.batch, {})[row.state] = row.lines
    return [_batch(row, counts.get(row.id)) for row in rows]


def _batch(row: Row[Any], counts: Mapping[str, int] | None) -> Batch:
    completed, failed = row.completed, row.failed
    if counts is not None:
        completed, failed = counts.get("answered", 0), counts.get("failed", 0)
    return Batch(
        id=row.id,
        endpoint=row.endpoint,
        input_file=row.input_file,
        status=row.status,
        created=row.created,
        expires=row.expires,
        moments=row.moments,
        meta=row.meta,
        errors=row.errors,
        output_file=row.output_file,
        error_file=row.error_file,
        total=row.total,
        completed=completed,
        failed=failed,
    )
