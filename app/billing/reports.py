"""What was used, billed and spent, by whatever an operator asks. admin API, CLI -> [reports] -> store.

All sums are the database's own, over integers of nano, so they are exact. Days are UTC days of `created`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, case, cast, func, select

from app.db.schema import from_nano, usage
from app.db.store import Store

By = Literal["tenant", "project", "key", "model", "tier", "pool", "region", "day"]

_DAY = 86_400
_SHARES = (50, 95, 99)
_COLUMNS: dict[str, ColumnElement[Any]] = {
    "tenant": usage.c.tenant,
    "project": usage.c.project,
    "key": usage.c.key_id,
    "model": func.coalesce(usage.c.model_id, ""),
    "tier": func.coalesce(usage.c.tier, ""),
    "pool": func.coalesce(usage.c.pool, ""),
    "region": func.coalesce(usage.c.region, ""),
}
# Whole seconds first: a division of the fraction could round the day's last moment up into the next day.
_DAYS = {
    "sqlite": cast(usage.c.created, BigInteger) // _DAY,  # cuts the fraction off, and may have no floor()
    "postgresql": cast(func.floor(usage.c.created), BigInteger) // _DAY,  # its cast would round
}
# Grouped by this label: PostgreSQL cannot know that an expression with bound values is the same twice.
_GROUP = "group"
_SUMS = (
    func.count().label("calls"),
    *(
        func.sum(case((usage.c.outcome.in_(outcomes), 1), else_=0)).label(label)
        for label, outcomes in (("refused", ["refused"]), ("failed", ["failed", "lost"]), ("hits", ["hit"]))
    ),
    *(func.sum(usage.c[name]).label(name) for name in ("prompt_tokens", "cached_tokens", "completion_tokens")),
    *(func.sum(usage.c[name]).label(name) for name in ("input_cost", "cached_cost", "output_cost", "cost", "goods")),
    func.avg(usage.c.ttft).label("ttft"),
    func.avg(usage.c.latency).label("latency"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The calls of one group. Money in the price list's currency, nine places; ttft, latency: mean seconds.

    group: the tenant's, project's or key's id, model as answered, tier, pool, region, or day (`2026-01-31`); empty
    where the calls have none, as a cache hit has no pool. failed: lost ones too. ttft None: no call had a token.
    """

    group: str
    calls: int
    refused: int
    failed: int
    hits: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    input_cost: Decimal
    cached_cost: Decimal
    output_cost: Decimal
    cost: Decimal
    goods: Decimal
    ttft: float | None
    latency: float

    @property
    def margin(self) -> Decimal:
        """What was billed, less what it cost us."""
        return self.cost - self.goods

    @property
    def margin_share(self) -> Decimal | None:
        """The margin as a share of what was billed, four places; None where nothing was."""
        return (self.margin / self.cost).quantize(Decimal("1e-4")) if self.cost else None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of one group, in seconds, by nearest rank: each is a time that a call really took."""

    p50: float
    p95: float
    p99: float


async def usage_by(
    store: Store,
    by: By,
    *,
    since: float | None = None,
    until: float | None = None,
    tenant: str | None = None,
    project: str | None = None,
) -> list[Summary]:
    """Return a Summary for each group, by its name. since <= created < until: Unix seconds.

    tenant, project: only their calls.

    Raises LedgerError.
    """

    def work(connection: Connection) -> list[Summary]:
        group = _group(connection, by)
        query = select(group.label(_GROUP), *_SUMS).where(_within(since, until, tenant, project)).group_by(_GROUP)
        rows = connection.execute(query).mappings()
        return sorted((_summary(dict(row)) for row in rows), key=lambda summary: summary.group)

    return await store.read(work)


async def percentiles_by(
    store: Store,
    by: By,
    of: Literal["ttft", "latency"],
    *,
    since: float | None = None,
    until: float | None = None,
    tenant: str | None = None,
) -> dict[str, Percentiles]:
    """Return, by group as in `usage_by`, the percentiles of the calls that have this time; sorts them all.

    A group where no call has it is left out. Raises LedgerError.
    """

    def work(connection: Connection) -> dict[str, Percentiles]:
        group, time = _group(connection, by), usage.c[of]
        ranked = (
            select(
                group.label(_GROUP),
                time.label("time"),
                func.row_number().over(partition_by=group, order_by=time).label("rank"),
                func.count().over(partition_by=group).label("calls"),
            )
            .where(_within(since, until, tenant), time.is_not(None))
            .subquery()
        )
        enough = [ranked.c.rank * 100 >= share * ranked.c.calls for share in _SHARES]
        # the smallest time that at least this share of the calls did not exceed
        picks = [func.min(case((reached, ranked.c.time))) for reached in enough]
        rows = connection.execute(select(ranked.c.group, *picks).group_by(ranked.c.group))
        return {_name(row[0]): Percentiles(*row[1:]) for row in sorted(rows)}

    return await store.read(work)


def _group(connection: Connection, by: str) -> ColumnElement[Any]:
    return _DAYS[connection.dialect.name] if by == "day" else _COLUMNS[by]


def _within(
    since: float | None, until: float | None, tenant: str | None, project: str | None = None
) -> ColumnElement[bool]:
    return and_(
        True,  # noqa: FBT003 - what `and_` wants where nothing is asked
        *([usage.c.created >= since] if since is not None else []),
        *([usage.c.created < until] if until is not None else []),
        *([usage.c.tenant == tenant] if tenant is not None else []),
        *([usage.c.project == project] if project is not None else []),
    )


def _summary(row: dict[str, Any]) -> Summary:
    for name, value in row.items():
        if name in {"input_cost", "cached_cost", "output_cost", "cost", "goods"}:
            row[name] = from_nano(int(value))
        elif name not in {"group", "ttft", "latency"}:
            row[name] = int(value)  # PostgreSQL sums into a Decimal
    return Summary(**{**row, "group": _name(row["group"])})


def _name(group: str | int) -> str:
    return datetime.fromtimestamp(group * _DAY, UTC).date().isoformat() if isinstance(group, int) else group
