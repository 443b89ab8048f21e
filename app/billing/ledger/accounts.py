"""An account's money and a reservation, as one transaction holds them. transactions -> [accounts] <- books.

Money in nano (1e-9), times in Unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import orjson

from app.billing.budgets import Pace, crossed, period_start
from app.core.ports import AbusePolicy, Limit, Principal

_PARTS = attrgetter(*(part.name for part in fields(Limit)))  # not astuple, which copies deeply


@dataclass(frozen=True, slots=True)
class Taken:
    """What a call took from one limit's bucket."""

    limit: Limit
    amount: int


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation as the database keeps it. names: what was asked for; they count against limits of their own."""

    id: str
    key_id: str
    project: str
    tenant: str
    names: tuple[str, ...]
    cost: int
    tokens: int
    taken: tuple[Taken, ...]
    created: float
    expires: float

    @property
    def owners(self) -> tuple[str, ...]:
        """The accounts that it is reserved on."""
        return Principal(self.tenant, self.key_id, self.project).owners

    def counted(self) -> list[tuple[str, str]]:
        """Under which owners and names it is a call on its way."""
        return [(owner, name) for owner in self.owners for name in ("*", *self.names)]

    def columns(self) -> dict[str, Any]:
        """The row to write."""
        taken = orjson.dumps([[*_PARTS(one.limit), one.amount] for one in self.taken]).decode()
        plain = {name: getattr(self, name) for name in ("id", "key_id", "project", "tenant", "cost", "tokens")}
        return {
            **plain,
            "names": "\t".join(self.names),
            "taken": taken,
            "created": self.created,
            "expires": self.expires,
        }

    @classmethod
    def of(cls, row: Any) -> Reserved:
        """The reservation of a row."""
        taken = tuple(Taken(Limit(*parts[:-1]), parts[-1]) for parts in orjson.loads(row.taken))
        names = tuple(filter(None, row.names.split("\t")))
        return cls(
            row.id, row.key_id, row.project, row.tenant, names, row.cost, row.tokens, taken, row.created, row.expires
        )


@dataclass(slots=True)
class Account:
    """A tenant's, project's or key's money. changed: whether it must be written back."""

    id: str
    tenant: str
    budget: int | None
    period: str
    since: float
    period_spent: int
    spent: int
    reserved: int
    alerted: int
    fast: float
    norm: float
    rated: float
    changed: bool = False

    @classmethod
    def of(cls, row: Any, now: float) -> Account:
        """The account of a row, at the start of a new period when one has begun."""
        account = cls(*row)
        start = period_start(account.period, now)
        if start > account.since:
            account.since, account.period_spent, account.alerted, account.changed = start, 0, 0, True
        return account

    def has(self, cost: int) -> bool:
        """Whether the budget has room for `cost` more beside all that is spent and reserved."""
        return self.budget is None or self.period_spent + self.reserved + cost <= self.budget

    def frees(self, cost: int) -> bool:
        """Whether it has room for `cost` once what is reserved comes back."""
        return self.budget is None or self.period_spent + cost <= self.budget

    def reserve(self, cost: int) -> None:
        """Set so much more aside; a negative cost releases."""
        self.reserved += cost
        self.changed = True

    def spend(self, cost: int) -> None:
        """Bill so much."""
        self.spent += cost
        self.period_spent += cost
        self.changed = True

    def alerts(self, percents: Sequence[int]) -> Iterator[int]:
        """The percentages of the budget reached since it was last asked."""
        if self.budget is None or not self.changed:
            return
        for percent in crossed(self.period_spent, self.budget, self.alerted, percents):
            self.alerted = percent
            yield percent

    def paced(self, cost: int, now: float, rules: AbusePolicy) -> bool:
        """Bring the pace up to date with `cost`; whether it runs away. One that did starts anew."""
        before = Pace(self.fast, self.norm, self.rated).after(0, now, rules.breaker_window, rules.breaker_norm)
        after = before.after(cost, now, rules.breaker_window, rules.breaker_norm)
        floor = float(rules.breaker_floor) * 1e9 / 3600
        away = after.runs_away(before, rules.breaker_multiple, floor, rules.breaker_window, rules.breaker_norm)
        self.fast, self.norm, self.rated = (0.0 if away else after.fast), after.norm, after.rated
        return away

    def columns(self) -> dict[str, Any]:
        """What statements.CHARGE binds."""
        names = ("since", "period_spent", "spent", "reserved", "alerted", "fast", "norm", "rated")
        return {"which": self.id, **{f"new_{name}": getattr(self, name) for name in names}}


def blank(
    id_: str, tenant: str, budget: int | None = None, period: str = "total", since: float = 0.0
) -> dict[str, Any]:
    """The row of a new account."""
    zeros = dict.fromkeys(("period_spent", "spent", "reserved", "alerted", "fast", "norm", "rated"), 0)
    return {"id": id_, "tenant": tenant, "budget": budget, "period": period, "since": since, **zeros}
