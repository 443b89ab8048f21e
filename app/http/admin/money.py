"""`/budgets`, `/usage`, `/invoices`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.adapters.invoices import as_csv, as_html, as_json, invoice
from app.adapters.sql.reports import usage_by
from app.http.admin import shapes, wire
from app.http.admin.back import back
from app.http.admin.read import body, query

router = APIRouter()
FORMATS = {"json": (as_json, "application/json"), "csv": (as_csv, "text/csv"), "html": (as_html, "text/html")}


@router.get("/budgets")
async def budgets(request: Request) -> dict[str, Any]:
    """A page of accounts, by id."""
    page = query(request, wire.TenantPage)
    found = await back(request).office.accounts(page.tenant, page.limit + 1, page.after)
    return shapes.listed([shapes.budget(one) for one in found], page.limit)


@router.get("/budgets/{account}")
async def budget(request: Request, account: str) -> dict[str, Any]:
    """One account: `tenant:ID`, `project:ID` or `key:ID`."""
    return shapes.budget(await back(request).office.balance(account))


@router.put("/budgets/{account}")
async def put_budget(request: Request, account: str) -> dict[str, Any]:
    """Change its budget, until its terms say another."""
    asked, at = await body(request, wire.PutBudget), back(request)
    return shapes.budget(await at.office.set_budget(account, asked.budget, asked.period, actor=at.actor))


@router.get("/usage")
async def usage(request: Request) -> dict[str, Any]:
    """A page of calls as they were billed, newest first."""
    page = query(request, wire.UsagePage)
    rows = await back(request).office.usage_rows(page.tenant, page.limit + 1, page.after, page.key)
    return shapes.listed([shapes.usage(row) for row in rows], page.limit)


@router.get("/usage/summary")
async def usage_summary(request: Request) -> dict[str, Any]:
    """Calls, tokens, revenue, goods and margin by group."""
    asked = query(request, wire.Summed)
    sums = await usage_by(
        back(request).office.store, asked.by, since=asked.since, until=asked.until, tenant=asked.tenant
    )
    return shapes.listed([shapes.summary(one) for one in sums])


@router.get("/invoices/{tenant}/{month}", response_model=None)
async def tenants_invoice(request: Request, tenant: str, month: str) -> Response:
    """A tenant's month, `YYYY-MM`, in the format asked for."""
    asked, at = query(request, wire.Format), back(request)
    drawn = await invoice(at.office.store, tenant, month, at.office.clock(), at.currency)
    write, kind = FORMATS[asked.format]
    return Response(write(drawn), media_type=kind)
