"""The statements of the hot path, built once: building one costs three times as much as running it.

transactions runs them. Lists are bound as one expanding parameter, so that SQLAlchemy compiles each only once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.adapters.sql.schema import buckets, reservations, tenants, usage


def upserts(table: Table) -> dict[str, Any]:
    """Return, by dialect, the INSERT that knows ON CONFLICT (spelt alike, but not portable SQL)."""
    return {"sqlite": sqlite.insert(table), "postgresql": postgresql.insert(table)}


def _upsert_bucket(new: Any) -> Any:
    values = {"level": new.excluded.level, "updated": new.excluded.updated}
    return new.on_conflict_do_update(index_elements=["key_id", "kind"], set_=values)


LOCK_TENANTS = (
    select(tenants)
    .where(tenants.c.id.in_(bindparam("names", expanding=True)))
    .order_by(tenants.c.id)  # every gateway locks in the same order, so none waits for another in a ring
    .with_for_update()  # SQLite leaves it out: there the transaction already is the only writer
)
READ_HELD = select(reservations).where(
    reservations.c.tenant.in_(bindparam("names", expanding=True)),
    or_(reservations.c.expires <= bindparam("now"), reservations.c.id.in_(bindparam("ids", expanding=True))),
)
READ_BILLED = select(usage.c.id).where(usage.c.id.in_(bindparam("ids", expanding=True)))
READ_BUCKETS = select(buckets).where(buckets.c.key_id.in_(bindparam("keys", expanding=True)))

MAKE_TENANT = {name: new.on_conflict_do_nothing() for name, new in upserts(tenants).items()}
WRITE_BUCKET = {name: _upsert_bucket(new) for name, new in upserts(buckets).items()}
WRITE_USAGE = insert(usage)
MAKE_RESERVATION = insert(reservations)
DROP_RESERVATIONS = delete(reservations).where(reservations.c.id.in_(bindparam("ids", expanding=True)))
CHARGE = (
    update(tenants)
    .where(tenants.c.id == bindparam("whose"))
    .values(spent=tenants.c.spent + bindparam("more_spent"), reserved=tenants.c.reserved + bindparam("more_reserved"))
)
