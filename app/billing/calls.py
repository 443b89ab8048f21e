"""Calls as they were billed, for the operator to read. admin service -> [calls] -> SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, or_, select

from app.core.owner import Owner
from app.core.ports import UsageRow
from app.core.refusals import UnknownError
from app.db.schema import from_nano, usage

_MONEY = ("cost", "input_cost", "cached_cost", "output_cost", "goods", "lost")


def listing(connection: Connection, tenant: str | None, key_id: str | None, limit: int, after: str) -> list[UsageRow]:
    """The last `limit` calls, newest first, of one tenant or key or all; those before the call of id `after`.

    Raises UnknownError for `after`.
    """
    query = select(usage).order_by(usage.c.created.desc(), usage.c.id).limit(limit)
    for column, wanted in ((usage.c.tenant, tenant), (usage.c.key_id, key_id)):
        if wanted is not None:
            query = query.where(column == wanted)
    if after:
        last = connection.execute(select(usage.c.created).where(usage.c.id == after)).first()
        if last is None:
            raise UnknownError(f"There is no call `{after}`: name one that was listed.")
        same = and_(usage.c.created == last.created, usage.c.id > after)
        query = query.where(or_(usage.c.created < last.created, same))
    return [_row(row) for row in connection.execute(query)]


def find(connection: Connection, owner: Owner, call: str) -> UsageRow | None:
    """One call of this owner's, as billed."""
    mine = (usage.c.tenant == owner.tenant, usage.c.project == owner.project)
    row = connection.execute(select(usage).where(usage.c.id == call, *mine)).first()
    return None if row is None else _row(row)


def tenant_of(connection: Connection, call: str) -> str:
    """Whose call it was. Raises UnknownError."""
    tenant = connection.scalar(select(usage.c.tenant).where(usage.c.id == call))
    if tenant is None:
        raise UnknownError(f"There is no call `{call}`: name one that was listed.")
    return str(tenant)


def _row(row: Any) -> UsageRow:
    plain: dict[str, Any] = row._asdict()
    return UsageRow(**{**plain, **{name: from_nano(plain[name]) for name in _MONEY}})
