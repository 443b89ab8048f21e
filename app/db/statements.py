"""The statements of the hot path, built once: building one costs three times as much as running it.

transactions runs them. Lists are bound as one expanding parameter, so that SQLAlchemy compiles each only once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.db.schema import accounts, buckets, keys, reservations, tenants, usage


def upserts(table: Table) -> dict[str, Any]:
    """Return, by dialect, the INSERT that knows ON CONFLICT (spelt alike, but not portable SQL)."""
    return {"sqlite": sqlite.insert(table), "postgresql": postgresql.insert(table)}


def _upsert_bucket(new: Any) -> Any:
    values = {"level": new.excluded.level, "updated": new.excluded.updated}
    return new.on_conflict_do_update(index_elements=["owner", "name"], set_=values)


LOCK_TENANTS = (
    select(tenants.c.id)
    .where(tenants.c.id.in_(bindparam("names", expanding=True)))
    .order_by(tenants.c.id)  # every gateway locks in the same order, so none waits for another in a ring
    .with_for_update()  # SQLite leaves it out: there the transaction already is the only writer
)
READ_HELD = select(reservations).where(
    reservations.c.tenant.in_(bindparam("names", expanding=True)),
    or_(reservations.c.expires <= bindparam("now"), reservations.c.id.in_(bindparam("ids", expanding=True))),
)
READ_ACCOUNTS = select(accounts).where(accounts.c.id.in_(bindparam("ids", expanding=True)))
READ_BUCKETS = select(buckets).where(buckets.c.owner.in_(bindparam("owners", expanding=True)))
READ_BILLED = select(usage.c.id).where(usage.c.id.in_(bindparam("ids", expanding=True)))
_BY_NAMES = (reservations.c.tenant, reservations.c.project, reservations.c.key_id, reservations.c.names)
COUNT_HELD = (
    select(*_BY_NAMES, func.count().label("calls"))
    .where(reservations.c.tenant.in_(bindparam("names", expanding=True)))
    .group_by(*_BY_NAMES)
)

MAKE_TENANT = {name: new.on_conflict_do_nothing() for name, new in upserts(tenants).items()}
MAKE_ACCOUNT = {name: new.on_conflict_do_nothing() for name, new in upserts(accounts).items()}
WRITE_BUCKET = {name: _upsert_bucket(new) for name, new in upserts(buckets).items()}
WRITE_USAGE = insert(usage)
MAKE_RESERVATION = insert(reservations)
DROP_RESERVATIONS = delete(reservations).where(reservations.c.id.in_(bindparam("ids", expanding=True)))
CHARGE = (
    update(accounts)
    .where(accounts.c.id == bindparam("which"))
    .values({name: bindparam(f"new_{name}") for name in (
        "since", "period_spent", "spent", "reserved", "alerted", "fast", "norm", "rated",
    )})
)  # fmt: skip
PAUSE = (
    update(tenants)
    .where(
        tenants.c.id == bindparam("which"),
        # the operator's own pause may be longer
        or_(tenants.c.paused_until.is_(None), tenants.c.paused_until < bindparam("until")),
    )
    .values(paused_until=bindparam("until"), paused_why=bindparam("why"))
)

STRIKERS = ("guard", "moderate", "leak", "guard.throttle", "leak.throttle")
"""`refused_by` of a call that is a strike against its key: stages, and those that throttled it but let it pass."""
READ_KEYS = select(keys.c.id, keys.c.tenant, keys.c.forgiven, keys.c.suspended, keys.c.throttled_until).where(
    keys.c.id.in_(bindparam("ids", expanding=True))
)
COUNT_STRIKES = select(func.count()).where(
    usage.c.key_id == bindparam("which"), usage.c.created > bindparam("since"), usage.c.refused_by.in_(STRIKERS)
)
SUSPEND = update(keys).where(keys.c.id == bindparam("which")).values(suspended=bindparam("why"))
THROTTLE = (
    update(keys)
    .where(keys.c.id == bindparam("which"))
    .values(throttled_until=bindparam("until"), throttle_rpm=bindparam("rpm"))
)
EXPIRED = select(reservations.c.tenant).where(reservations.c.expires <= bindparam("now")).distinct()
HELD_NOW = select(func.count(), func.coalesce(func.sum(reservations.c.cost), 0))
