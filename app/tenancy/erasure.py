"""Erase a tenant: everything that was said and every name, and not one record of the chain. [erasure] -> store.

Usage and audit stay: they hold ids, counts and money only, and the law wants those kept. What was said is gone with
its rows, and unreadable in every backup with the data key.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from app.audit.chain import append
from app.audit.records import OPERATOR, Entry
from app.core.refusals import UnknownError
from app.core.terms import LISTED
from app.db.schema import (
    batch_lines,
    batches,
    contents,
    deliveries,
    files,
    idempotency,
    keys,
    projects,
    responses,
    tenants,
    webhooks,
)
from app.db.store import Store
from app.installation.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Erased:
    """How much there was: calls' contents, keys disabled, webhooks removed."""

    contents: int
    keys: int
    webhooks: int


async def erase(store: Store, secrets: Secrets, tenant: str, actor: str, now: float) -> Erased:
    """Erase the tenant for good. now: Unix seconds. Raises UnknownError, LedgerError."""

    def work(connection: Connection) -> Erased:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # else the bytes stay in the file until reused
        there = select(tenants.c.id).where(tenants.c.id == tenant).with_for_update()
        if connection.execute(there).first() is None:
            raise UnknownError(f"There is no tenant `{tenant}`: list the tenants to see their ids.")
        erased = _delete(connection, tenant, now)
        _blank(connection, tenant, now)
        facts = {"contents": erased.contents, "keys": erased.keys, "webhooks": erased.webhooks}
        entries = [Entry(chain, now, "tenant.erase", actor, tenant, facts) for chain in (tenant, OPERATOR)]
        append(connection, secrets.audit_key, entries)
        return erased

    return await store.write(work)


def _delete(connection: Connection, tenant: str, now: float) -> Erased:
    own_keys = select(keys.c.id).where(keys.c.tenant == tenant)
    own_hooks = list(connection.execute(select(webhooks.c.id).where(webhooks.c.tenant == tenant)).scalars())
    said = connection.execute(delete(contents).where(contents.c.tenant == tenant)).rowcount
    connection.execute(delete(idempotency).where(idempotency.c.key_id.in_(own_keys)))
    connection.execute(delete(responses).where(responses.c.tenant == tenant))
    own_batches = select(batches.c.id).where(batches.c.tenant == tenant)
    connection.execute(delete(batch_lines).where(batch_lines.c.batch.in_(own_batches)))
    connection.execute(delete(batches).where(batches.c.tenant == tenant))
    # Gone at once; the archive's next sweep deletes their bytes, which lie elsewhere.
    connection.execute(update(files).where(files.c.tenant == tenant).values(filename="", expires=now))
    # The webhooks first: a dispatcher that is making deliveries for them holds their rows until it has made them.
    connection.execute(delete(webhooks).where(webhooks.c.id.in_(own_hooks)))
    connection.execute(delete(deliveries).where(deliveries.c.webhook.in_(own_hooks)))
    live = update(keys).where(keys.c.tenant == tenant, keys.c.disabled.is_(False)).values(disabled=True)
    return Erased(said, connection.execute(live).rowcount, len(own_hooks))


def _blank(connection: Connection, tenant: str, now: float) -> None:
    connection.execute(update(keys).where(keys.c.tenant == tenant).values(name="", prefix=""))
    connection.execute(update(projects).where(projects.c.tenant == tenant).values(name=""))
    gone = {"name": "", "paused_why": None, "data_key": None, "keeps_content": False, "erased": now}
    connection.execute(update(tenants).where(tenants.c.id == tenant).values(gone))
    for table, whose in ((tenants, tenants.c.id), (projects, projects.c.tenant), (keys, keys.c.tenant)):
        for row in connection.execute(select(table.c.id, table.c.terms).where(whose == tenant)).all():
            if safety := (row.terms or {}).get("safety"):
                kept = {**row.terms, "safety": {name: v for name, v in safety.items() if name not in LISTED}}
                connection.execute(update(table).where(table.c.id == row.id).values(terms=kept))
