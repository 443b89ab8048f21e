"""Invoices from usage rows, and as JSON, CSV and a page to print. admin API, CLI -> [invoices] -> store.

JSON and CSV hold every amount exactly; the page shows cents, and the exact total beside them.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from sqlalchemy import Connection, case, func, or_, select

from app.billing.invoice import Invoice, InvoiceLine, Period, Sums
from app.core.refusals import UnfitError
from app.db.schema import from_nano, projects, usage
from app.db.store import Store

_CACHED = case((usage.c.cached_tokens > usage.c.prompt_tokens, usage.c.prompt_tokens), else_=usage.c.cached_tokens)
_KIND = case((usage.c.batch.is_(True), "batch"), (usage.c.outcome == "hit", "cache hit"), else_="generation")
_SOLD = (usage.c.project, usage.c.tier, usage.c.model_id, usage.c.price_list)
_TOKENS = {
    "calls": func.count(),
    "input_tokens": func.sum(usage.c.prompt_tokens - _CACHED),
    "cached_tokens": func.sum(_CACHED),
    "output_tokens": func.sum(usage.c.completion_tokens),
}
_AMOUNTS = {
    "input_amount": func.sum(usage.c.input_cost),
    "cached_amount": func.sum(usage.c.cached_cost),
    "output_amount": func.sum(usage.c.output_cost),
    "amount": func.sum(usage.c.cost),
}
_QUERY = (
    select(*_SOLD, _KIND.label("kind"), *(sums.label(name) for name, sums in (_TOKENS | _AMOUNTS).items()))
    # a refused or failed call that took no tokens is on no invoice
    .where(or_(usage.c.cost != 0, usage.c.prompt_tokens > 0, usage.c.completion_tokens > 0))
    .group_by(*_SOLD, "kind")
)
_SUMS = tuple(field.name for field in fields(Sums))
_COLUMNS = (*(field.name for field in fields(InvoiceLine) if field.name not in _SUMS), *_SUMS)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def invoice(
    store: Store, tenant: str, month: str, now: float, *, name: str = "", currency: str = "USD"
) -> Invoice:
    """Return the tenant's invoice for a month, `YYYY-MM`, as it stands `now`, Unix seconds. name: the tenant's.

    Its total is the sum of `usage.cost` of the month, to the nano. Raises UnfitError for what is no month, LedgerError.
    """
    try:
        period = Period.of(month)
    except ValueError as error:
        raise UnfitError(str(error)) from error

    def work(connection: Connection) -> Invoice:
        named = connection.execute(select(projects.c.id, projects.c.name).where(projects.c.tenant == tenant))
        names = {row.id: row.name for row in named}
        of_month = (usage.c.tenant == tenant, usage.c.created >= period.since, usage.c.created < period.until)
        lines = [_line(row, names) for row in connection.execute(_QUERY.where(*of_month)).mappings()]
        return Invoice.of(period, lines, now, tenant=tenant, tenant_name=name or tenant, currency=currency)

    return await store.read(work)


def as_json(invoice: Invoice) -> str:
    """Return the invoice with every amount as a string of nine places."""
    document = {
        "object": "invoice",
        "number": invoice.number,
        "status": invoice.status,
        "made": datetime.fromtimestamp(invoice.made, UTC).isoformat(timespec="seconds"),
        "tenant": invoice.tenant,
        "tenant_name": invoice.tenant_name,
        "month": invoice.period.month,
        "from": invoice.period.first,
        "to": invoice.period.last,
        "currency": invoice.currency,
        "lines": [{name: getattr(line, name) for name in _COLUMNS} for line in invoice.lines],
        "total": asdict(invoice.total),
    }
    return json.dumps(document, default=_text, indent=2, ensure_ascii=False) + "\n"


def as_csv(invoice: Invoice) -> str:
    """Return one row a line, each with the invoice's own columns first. RFC 4180, amounts with nine places."""
    out = io.StringIO()
    table = csv.writer(out)
    own = ("number", "status", "tenant", "tenant_name", "currency")
    table.writerow([*own, "month", *_COLUMNS])
    for line in invoice.lines:
        values = [*(getattr(invoice, name) for name in own), invoice.period.month]
        table.writerow([_cell(value) for value in (*values, *(getattr(line, name) for name in _COLUMNS))])
    return out.getvalue()


def as_html(invoice: Invoice) -> str:
    """Return one page that needs nothing else: light and dark, fit to print."""
    return _page().render(invoice=invoice)


@cache
def _page() -> Template:
    folder = FileSystemLoader(Path(__file__).with_name("templates"))
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update(cents=_cents, exact=_text, moment=_moment)
    return environment.get_template("invoice.html")


def _cents(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _text(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _cell(value: object) -> str:
    # a spreadsheet would run a name that looks like a formula
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else _text(value)


def _line(row: Any, names: dict[str, str]) -> InvoiceLine:
    sums: dict[str, Any] = {name: int(row[name]) for name in _TOKENS}
    sums |= {name: from_nano(int(row[name])) for name in _AMOUNTS}
    return InvoiceLine(
        project=row["project"],
        project_name=names.get(row["project"], row["project"]),
        tier=row["tier"] or "",
        model=row["model_id"] or "",
        kind=row["kind"],
        price_list=row["price_list"],
        **sums,
    )
