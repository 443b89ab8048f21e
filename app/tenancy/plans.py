"""Plans: terms that many tenants share. tenants, admin service -> [plans] -> SQL. Every function takes a Connection."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from app.billing.ledger import balances
from app.core.refusals import UnfitError, UnknownError, named
from app.core.terms import DEFAULT_PLANS, UNLIMITED, Terms
from app.db.schema import plans, tenants
from app.db.statements import upserts
from app.tenancy.model import Plan, stored, terms_of

_MAKE = {name: new.on_conflict_do_nothing() for name, new in upserts(plans).items()}


def begin(connection: Connection, now: float) -> None:
    """Write the plans that a new database starts with; a table that has any stays as it is."""
    if connection.execute(select(plans.c.id).limit(1)).first() is None:
        rows = [{"id": plan, "terms": stored(terms), "created": now} for plan, terms in DEFAULT_PLANS.items()]
        connection.execute(_MAKE[connection.dialect.name], rows)


def listing(connection: Connection) -> list[Plan]:
    """Every plan, by name."""
    rows = connection.execute(select(plans).order_by(plans.c.id))
    return [Plan(row.id, terms_of(row.terms), row.created) for row in rows]


def find(connection: Connection, plan: str) -> Plan:
    """The plan. Raises UnknownError."""
    if plan == UNLIMITED:
        return Plan(UNLIMITED, Terms(), 0.0)
    known = {one.id: one for one in listing(connection)}
    if plan not in known:
        raise UnknownError(f"There is no plan `{plan}`: choose from {', '.join([*known, UNLIMITED])}.")
    return known[plan]


def put(connection: Connection, plan: str, terms: Terms, now: float) -> tuple[Plan | None, Plan]:
    """The plan before and after it was made or changed. Its tenants' budgets follow. Raises UnfitError."""
    if named("plan", plan) == UNLIMITED:
        raise UnfitError(f"The plan `{UNLIMITED}` has no limits: choose another name.")
    row = connection.execute(select(plans).where(plans.c.id == plan).with_for_update()).first()
    if row is None:
        connection.execute(insert(plans).values(id=plan, terms=stored(terms), created=now))
        return None, Plan(plan, terms, now)
    old = Plan(row.id, terms_of(row.terms), row.created)
    connection.execute(update(plans).where(plans.c.id == plan).values(terms=stored(terms)))
    held = select(tenants.c.id, tenants.c.terms).where(tenants.c.plan == plan).order_by(tenants.c.id).with_for_update()
    for tenant in connection.execute(held).all():
        own = terms_of(tenant.terms)
        balances.follow(connection, f"tenant:{tenant.id}", own.over(old.terms), own.over(terms), now)
    return old, Plan(plan, terms, row.created)
