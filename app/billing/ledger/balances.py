"""Budgets as the operator sees and sets them. tenants, keys, admin service -> [balances] -> SQL.

Every function takes a Connection. An account changes only under its tenant's lock, as in the ledger's transactions:
callers that write hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, func, select, update

from app.billing.budgets import period_start
from app.billing.ledger.accounts import blank
from app.core.refusals import UnknownError
from app.core.terms import Terms
from app.db.schema import accounts, from_nano, to_nano, usage
from app.db.statements import MAKE_ACCOUNT

_COUNTED_BY = {"tenant": usage.c.tenant, "project": usage.c.project, "key": usage.c.key_id}


@dataclass(frozen=True, slots=True)
class Balance:
    """An account. id: `tenant:ID`, `project:ID` or `key:ID`. Money in currency units; budget None: no budget.

    since: when the current period began, Unix seconds; period_spent: since then; spent: of all time.
    """

    id: str
    tenant: str
    budget: Decimal | None
    period: str
    since: float
    period_spent: Decimal
    spent: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal | None:
        """What calls may still reserve in this period; None where there is no budget."""
        return None if self.budget is None else max(Decimal(0), self.budget - self.period_spent - self.reserved)


def make(connection: Connection, owner: str, tenant: str, terms: Terms, now: float) -> None:
    """Open the account that `owner` needs, with the budget of its terms; one that exists stays as it is."""
    row = blank(owner, tenant, **_allowance(terms, now))
    connection.execute(MAKE_ACCOUNT[connection.dialect.name], row)


def find(connection: Connection, owner: str, now: float) -> Balance:
    """The account as it stands at `now`. Raises UnknownError."""
    row = connection.execute(select(accounts).where(accounts.c.id == owner)).first()
    if row is None:
        raise UnknownError(f"There is no account `{owner}`: name it `tenant:ID`, `project:ID` or `key:ID`.")
    return _balance(row, now)


def listing(connection: Connection, now: float, tenant: str | None, limit: int, after: str) -> Sequence[Balance]:
    """The accounts of one tenant or all, by id, those after the id `after`."""
    query = select(accounts).where(accounts.c.id > after).order_by(accounts.c.id).limit(limit)
    rows = connection.execute(query if tenant is None else query.where(accounts.c.tenant == tenant))
    return [_balance(row, now) for row in rows]


def set_budget(
    connection: Connection, owner: str, budget: Decimal | None, period: str, now: float
) -> tuple[Balance, Balance]:
    """The account before and after its budget changed. Its alerts start anew."""
    old = find(connection, owner, now)
    since, spent = old.since, old.period_spent
    if period != old.period:
        since = period_start(period, now)
        spent = _spent(connection, old, since)
    new = replace(old, budget=budget, period=period, since=since, period_spent=spent)
    values = {
        "budget": None if budget is None else to_nano(budget),
        "period": period,
        "since": since,
        "period_spent": to_nano(spent),
        "alerted": 0,
    }
    connection.execute(update(accounts).where(accounts.c.id == owner).values(values))
    return old, new


def succeed(connection: Connection, old: str, new: str, now: float) -> None:
    """Give the account `new` the budget of `old`, and what `old` has spent of it in this period."""
    had = find(connection, old, now)
    set_budget(connection, new, had.budget, had.period, now)
    spent = to_nano(had.period_spent)
    connection.execute(update(accounts).where(accounts.c.id == new).values(period_spent=spent))


def follow(connection: Connection, owner: str, old: Terms, new: Terms, now: float) -> None:
    """Give the account the budget that its new terms say. Where they say what they said, a set budget stands."""
    if _allowance(old, now) != _allowance(new, now):
        set_budget(connection, owner, new.budget, new.budget_period or "total", now)


def _allowance(terms: Terms, now: float) -> dict[str, Any]:
    period = terms.budget_period or "total"
    budget = None if terms.budget is None else to_nano(terms.budget)
    return {"budget": budget, "period": period, "since": period_start(period, now)}


def _spent(connection: Connection, account: Balance, since: float) -> Decimal:
    if not since:
        return account.spent
    kind, _, name = account.id.partition(":")
    total = func.coalesce(func.sum(usage.c.cost), 0)
    mine = select(total).where(_COUNTED_BY[kind] == name, usage.c.created >= since)
    return from_nano(int(connection.execute(mine).scalar_one()))


def _balance(row: Any, now: float) -> Balance:
    """The row, in the period that `now` lies in: the ledger turns the page only at the next call."""
    start = period_start(row.period, now)
    over = start > row.since
    return Balance(
        row.id,
        row.tenant,
        None if row.budget is None else from_nano(row.budget),
        row.period,
        start if over else row.since,
        Decimal(0) if over else from_nano(row.period_spent),
        from_nano(row.spent),
        from_nano(row.reserved),
    )
