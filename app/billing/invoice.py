"""An invoice: a tenant's month of usage, summed by what was sold. Pure, no I/O; app/billing/invoicing.py fills it.

A call belongs to the UTC month that it was made in. Money in `currency`, nine places; every sum is exact.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, Literal

SETTLED = 86_400.0
"""Seconds after a month's end until its last calls are surely billed: many times longer than a call may take."""
_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """A UTC month. since <= created < until: Unix seconds."""

    month: str
    since: float
    until: float
    first: date
    last: date

    @classmethod
    def of(cls, month: str) -> Period:
        """The month written `YYYY-MM`. Raises ValueError for anything else."""
        found = _MONTH.fullmatch(month)
        try:
            year, number = (int(part) for part in found.groups()) if found else (0, 0)
            first = date(year, number, 1)
            last = date(year, number, calendar.monthrange(year, number)[1])
        except ValueError as error:
            raise ValueError(f"`{month}` is no month: write it like 2026-01") from error
        since = datetime(year, number, 1, tzinfo=UTC).timestamp()
        return cls(month, since, since + last.day * 86_400.0, first, last)

    @property
    def final(self) -> float:
        """From when on nothing is added, Unix seconds."""
        return self.until + SETTLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Of some calls. input_tokens: without the cached ones. amount: the sum of its three parts."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    input_amount: Decimal = Decimal("0E-9")
    cached_amount: Decimal = Decimal("0E-9")
    output_amount: Decimal = Decimal("0E-9")
    amount: Decimal = Decimal("0E-9")

    @staticmethod
    def of(parts: Sequence[Sums]) -> Sums:
        """All of them together."""
        none = Sums()
        names = [field.name for field in fields(none)]
        sums: dict[str, Any] = {name: sum((getattr(one, name) for one in parts), getattr(none, name)) for name in names}
        return Sums(**sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine(Sums):
    """Calls of one project that were sold alike. project: its id, empty for keys of none. model: as answered, empty for
    a cache hit. kind: generation | cache hit | batch. price_list: its name and version.
    """

    project: str
    project_name: str
    tier: str
    model: str
    kind: str
    price_list: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a tenant owes for a month. made: Unix seconds; a final one's is when it became final."""

    number: str
    tenant: str
    tenant_name: str
    period: Period
    status: Literal["draft", "final"]
    currency: str
    made: float
    lines: tuple[InvoiceLine, ...]

    @classmethod
    def of(
        cls, period: Period, lines: Iterable[InvoiceLine], now: float, *, tenant: str, tenant_name: str, currency: str
    ) -> Invoice:
        """The invoice as it stands `now`, Unix seconds: final once the month's last calls are surely billed."""
        final = now >= period.final
        return cls(
            number=f"{tenant}-{period.month}",
            tenant=tenant,
            tenant_name=tenant_name,
            period=period,
            status="final" if final else "draft",
            currency=currency,
            made=period.final if final else now,
            lines=tuple(sorted(lines, key=_place)),
        )

    @property
    def total(self) -> Sums:
        """Of all lines: to the nano, what the month's usage rows were billed."""
        return Sums.of(self.lines)

    @property
    def projects(self) -> list[tuple[str, list[InvoiceLine], Sums]]:
        """The lines by project: its name, its lines, their sums."""
        groups = [list(group) for _, group in groupby(self.lines, key=lambda line: line.project)]
        return [(group[0].project_name, group, Sums.of(group)) for group in groups]


def _place(line: InvoiceLine) -> tuple[str, ...]:
    return line.project_name, line.project, line.tier, line.model, line.kind, line.price_list
