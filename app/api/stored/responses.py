"""Responses that the next request goes on from, sealed with the tenant's own data key. http -> [responses] -> store.

Kept for 30 days, for their owner alone. Whoever destroys the data key has destroyed every text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, and_, bindparam, delete, select, update

from app.core.identifiers import known
from app.core.owner import Owner
from app.core.refusals import LedgerError
from app.db.schema import responses as rows
from app.db.schema import tenants
from app.db.statements import upserts
from app.db.store import Store
from app.installation.secrets import Sealer, SealError, Secrets

MONTH = 30 * 86_400.0
RUNNING = ("queued", "in_progress")
"""Statuses of a response that has not ended."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response as it was sent, and every item that it was made from, those of earlier responses first."""

    response: Mapping[str, Any]
    items: Sequence[Mapping[str, Any]]

    @property
    def conversation(self) -> list[Mapping[str, Any]]:
        """What the next request goes on from. A summary of it all stands for it all."""
        made = list(self.response["output"])
        return made if any(item["type"] == "compaction" for item in made) else [*self.items, *made]


def _keep(new: Any) -> Any:
    # A batch's line that is run again answers under the same id.
    values = {"body": new.excluded.body, "expires": new.excluded.expires}
    mine = and_(rows.c.tenant == new.excluded.tenant, rows.c.project == new.excluded.project)
    return new.on_conflict_do_update(index_elements=["id"], set_=values, where=mine)


_KEEP = {name: _keep(new) for name, new in upserts(rows).items()}
_MINE = (
    rows.c.id == bindparam("which"),
    rows.c.tenant == bindparam("whose"),
    rows.c.project == bindparam("part"),
    rows.c.expires > bindparam("now"),
)
_READ = (
    select(rows.c.body, tenants.c.data_key).join(tenants, tenants.c.id == rows.c.tenant).where(*_MINE)
)  # an erased tenant has no data key
_DELETE = delete(rows).where(*_MINE)
_EXPIRE = delete(rows).where(rows.c.expires <= bindparam("now"))


class Responses:
    """keep: seconds that a response is kept. clock: Unix seconds. Every method raises LedgerError."""

    def __init__(
        self, store: Store, secrets: Secrets, clock: Callable[[], float] = time.time, keep: float = MONTH
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._keep = keep

    @property
    def sealer(self) -> Sealer:
        """The installation's, for what clients carry in place of a stored response."""
        return self._secrets.sealer

    async def keep(self, owner: Owner, kept: StoredResponse) -> bool:
        """Seal and store it under its id. False where there is no such tenant, or it was erased."""
        tenant, response_id, now = owner.tenant, kept.response["id"], self._clock()
        plain = orjson.dumps([kept.response, kept.items])

        def work(connection: Connection) -> bool:
            data_key = _data_key(connection, tenant, self._secrets.data_key)
            if data_key is None:
                return False
            sealed = self._secrets.sealer_of(data_key).seal(plain, _about(tenant, response_id))
            row = {"id": response_id, "tenant": tenant, "project": owner.project, "created": now}
            row |= {"expires": now + self._keep, "body": sealed}
            connection.execute(_KEEP[connection.dialect.name], row)
            return True

        return await self._store.write(work)

    async def read(self, owner: Owner, response_id: str) -> StoredResponse | None:
        """The owner's response of this id; None when there is none, or no longer."""
        if not known(response_id):
            return None
        values = self._mine(owner, response_id)
        row = await self._store.read(lambda connection: connection.execute(_READ, values).first())
        if row is None or row.data_key is None:
            return None
        try:
            plain = self._secrets.sealer_of(row.data_key).open(row.body, _about(owner.tenant, response_id))
        except SealError as error:
            raise LedgerError(f"A kept response cannot be read: {error}.") from error
        return StoredResponse(*orjson.loads(plain))

    async def end(self, owner: Owner, made: Mapping[str, Any]) -> StoredResponse | None:
        """Store how a response ended that had not: what is stored now, or None where it is gone.

        In one transaction: of two ends (the answer's, a cancelling) the first stands.
        """
        values = self._mine(owner, made["id"])

        def work(connection: Connection) -> StoredResponse | None:
            row = connection.execute(_READ.with_for_update(of=rows), values).first()
            if row is None or row.data_key is None:
                return None
            sealer, about = self._secrets.sealer_of(row.data_key), _about(owner.tenant, made["id"])
            found = StoredResponse(*orjson.loads(sealer.open(row.body, about)))
            if found.response["status"] not in RUNNING:
                return found
            sealed = sealer.seal(orjson.dumps([made, found.items]), about)
            connection.execute(update(rows).where(rows.c.id == made["id"]).values(body=sealed))
            return StoredResponse(made, found.items)

        try:
            return await self._store.write(work)
        except SealError as error:
            raise LedgerError(f"A kept response cannot be read: {error}.") from error

    async def delete(self, owner: Owner, response_id: str) -> bool:
        """Whether there was one. Later responses that went on from it hold its items, and stay."""
        if not known(response_id):
            return False
        values = self._mine(owner, response_id)
        return await self._store.write(lambda connection: bool(connection.execute(_DELETE, values).rowcount))

    async def expire(self) -> int:
        """Delete what is no longer kept; return how many."""
        values = {"now": self._clock()}
        return await self._store.write(lambda connection: connection.execute(_EXPIRE, values).rowcount)

    def _mine(self, owner: Owner, response_id: str) -> dict[str, Any]:
        whose = {"whose": owner.tenant, "part": owner.project}
        return {"which": response_id, **whose, "now": self._clock()}


def _data_key(connection: Connection, tenant: str, make: Callable[[], bytes]) -> bytes | None:
    """The tenant's data key, made at its first use."""
    found = select(tenants.c.data_key).where(tenants.c.id == tenant, tenants.c.erased.is_(None))
    row = connection.execute(found).first()
    if row is not None and row.data_key is None:  # only now is the row locked: every call waits for it
        row = connection.execute(found.with_for_update()).first()
    if row is None:
        return None
    if row.data_key is not None:
        return bytes(row.data_key)
    made = make()
    connection.execute(update(tenants).where(tenants.c.id == tenant).values(data_key=made))
    return made


def _about(tenant: str, response_id: str) -> str:
    return f"response {tenant} {response_id}"
