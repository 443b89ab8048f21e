"""Tenants: who pays. projects, keys, admin service -> [tenants] -> SQL.

Every function takes a Connection. Those that write lock the tenant's row first, as the ledger's transactions do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select, update

from app.billing.ledger import balances
from app.core.refusals import TakenError, UnknownError, named
from app.core.terms import UNLIMITED, Terms
from app.db.schema import plans as plan_rows
from app.db.schema import tenants
from app.db.statements import upserts
from app.tenancy import plans
from app.tenancy.model import FOREVER, Tenant, TenantChanges, stored, terms_of

_MAKE = {name: new.on_conflict_do_nothing().returning(tenants.c.id) for name, new in upserts(tenants).items()}


def make(
    connection: Connection,
    tenant: str,
    now: float,
    *,
    name: str = "",
    plan: str = UNLIMITED,
    terms: Terms | None = None,
) -> Tenant | None:
    """The new tenant with its account, or None where there is one.

    Raises UnknownError for its plan, UnfitError for its id.
    """
    own = terms or Terms()
    values = {"id": named("tenant", tenant), "name": name or tenant, "plan": plan, "created": now}
    common = plans.find(connection, plan).terms
    row = {**values, "terms": stored(own), "keeps_content": False}
    if connection.execute(_MAKE[connection.dialect.name], row).first() is None:
        return None
    balances.make(connection, f"tenant:{tenant}", tenant, own.over(common), now)
    return find(connection, tenant)


def find(connection: Connection, tenant: str) -> Tenant:
    """The tenant. Raises UnknownError."""
    return _found(tenant, connection.execute(select(tenants).where(tenants.c.id == tenant)).first())


def lock(connection: Connection, tenant: str) -> Tenant:
    """The tenant, its row locked until the commit, to be changed.

    Raises UnknownError; TakenError for one that was erased.
    """
    row = connection.execute(select(tenants).where(tenants.c.id == tenant).with_for_update()).first()
    found = _found(tenant, row)
    if found.erased is not None:
        raise TakenError(f"The tenant `{tenant}` was erased: make another.")
    return found


def listing(connection: Connection, limit: int, after: str) -> list[Tenant]:
    """The tenants by id, those after the id `after`."""
    query = select(tenants).where(tenants.c.id > after).order_by(tenants.c.id).limit(limit)
    return [_tenant(row) for row in connection.execute(query)]


def retention(connection: Connection) -> dict[str, int]:
    """Days that the audit records of a tenant are kept, of those whose own terms or plan's say so."""
    query = select(tenants.c.id, tenants.c.terms, plan_rows.c.terms)
    rows = connection.execute(query.outerjoin_from(tenants, plan_rows, plan_rows.c.id == tenants.c.plan))
    found = {tenant: terms_of(own).over(terms_of(common)).retention_days for tenant, own, common in rows}
    return {tenant: days for tenant, days in found.items() if days}


def change(connection: Connection, tenant: str, changes: TenantChanges, now: float) -> tuple[Tenant, Tenant]:
    """The tenant before and after. Its budget follows where its effective terms say another one."""
    old = lock(connection, tenant)
    new = replace(old, **changes)
    before, after = (one.terms.over(plans.find(connection, one.plan).terms) for one in (old, new))
    _write(connection, tenant, name=new.name, plan=new.plan, terms=stored(new.terms))
    balances.follow(connection, f"tenant:{tenant}", before, after, now)
    return old, new


def pause(connection: Connection, tenant: str, why: str, until: float | None) -> tuple[Tenant, Tenant]:
    """The tenant before and after; none of its calls is let in before `until`, Unix seconds; None: before a resume."""
    old = lock(connection, tenant)
    new = replace(old, paused_until=until or FOREVER, paused_why=why)
    _write(connection, tenant, paused_until=new.paused_until, paused_why=why)
    return old, new


def resume(connection: Connection, tenant: str) -> tuple[Tenant, Tenant]:
    """The tenant before and after its pause was lifted."""
    old = lock(connection, tenant)
    _write(connection, tenant, paused_until=None, paused_why=None)
    return old, replace(old, paused_until=None, paused_why="")


def _write(connection: Connection, tenant: str, **values: Any) -> None:
    connection.execute(update(tenants).where(tenants.c.id == tenant).values(values))


def _found(tenant: str, row: Any) -> Tenant:
    if row is None:
        raise UnknownError(f"There is no tenant `{tenant}`: create it first.")
    return _tenant(row)


def _tenant(row: Any) -> Tenant:
    return Tenant(
        row.id,
        row.name,
        row.plan,
        terms_of(row.terms),
        row.paused_until,
        row.paused_why or "",
        row.keeps_content,
        row.erased,
        row.created,
    )
