"""What was said in a tenant's calls, where the tenant wants it kept: sealed with the tenant's own data key.

settle, admin service -> [contents] -> store. Off by default. Whoever destroys the data key has destroyed every text.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, delete, select, update

from app.audit.chain import append
from app.audit.records import Entry
from app.core.refusals import UnknownError
from app.db.schema import contents, tenants
from app.db.statements import upserts
from app.db.store import Store
from app.installation.secrets import Secrets

_KEEP = {name: new.on_conflict_do_nothing() for name, new in upserts(contents).items()}


class Contents:
    """The Contents port, and what an operator does with it. Every method raises LedgerError."""

    def __init__(self, store: Store, secrets: Secrets, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix seconds."""
        self._store = store
        self._secrets = secrets
        self._clock = clock

    async def keep(self, tenant: str, call_id: str, created: float, body: bytes) -> None:
        """Seal and store `body`, once; nothing where the tenant does not keep contents."""

        def work(connection: Connection) -> None:
            data_key = self._data_key(connection, tenant)
            if data_key is not None:
                sealed = self._secrets.sealer_of(data_key).seal(body, call_id)
                row = {"call_id": call_id, "tenant": tenant, "created": created, "body": sealed}
                connection.execute(_KEEP[connection.dialect.name], row)

        await self._store.write(work)

    async def read(self, call_id: str) -> bytes | None:
        """A call's content; None when none is kept. Raises SealError when another secret sealed it."""
        query = (
            select(contents.c.body, tenants.c.data_key)
            .join(tenants, tenants.c.id == contents.c.tenant)
            .where(contents.c.call_id == call_id)
        )
        row = await self._store.read(lambda connection: connection.execute(query).first())
        if row is None or row.data_key is None:
            return None
        return self._secrets.sealer_of(row.data_key).open(row.body, call_id)

    async def expire(self, older_than: float) -> int:
        """Delete what was said before `older_than`, in Unix seconds; return how many calls that was."""
        gone = delete(contents).where(contents.c.created < older_than)
        return await self._store.write(lambda connection: connection.execute(gone).rowcount)

    async def set_keeping(self, tenant: str, keep: bool, actor: str) -> None:  # noqa: FBT001 - the switch itself
        """Whether contents are kept from now on; what is there stays. Raises UnknownError."""

        def work(connection: Connection) -> None:
            before = connection.execute(
                select(tenants.c.keeps_content)
                .where(tenants.c.id == tenant, tenants.c.erased.is_(None))
                .with_for_update()
            ).first()
            if before is None:
                raise UnknownError(f"There is no tenant `{tenant}`: list the tenants to see their ids.")
            if before.keeps_content == keep:
                return
            connection.execute(update(tenants).where(tenants.c.id == tenant).values(keeps_content=keep))
            facts = {"old": before.keeps_content, "new": keep}
            append(
                connection,
                self._secrets.audit_key,
                [Entry(tenant, self._clock(), "tenant.content", actor, tenant, facts)],
            )

        await self._store.write(work)

    def _data_key(self, connection: Connection, tenant: str) -> bytes | None:
        """The tenant's data key, made at its first use; None where contents are not kept."""
        where = tenants.c.id == tenant
        row = connection.execute(
            select(tenants.c.keeps_content, tenants.c.data_key).where(where).with_for_update()
        ).first()
        if row is None or not row.keeps_content:
            return None
        if row.data_key is not None:
            return bytes(row.data_key)
        made = self._secrets.data_key()
        connection.execute(update(tenants).where(where).values(data_key=made))
        return made
