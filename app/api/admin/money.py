"""`/budgets`, `/usage`, `/invoices`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.admin import answers, requests
from app.api.admin.parsing import body, query
from app.api.admin.services import admin_services
from app.billing.invoicing import as_csv, as_html, as_json, invoice
from app.billing.reports import usage_by

router = APIRouter()
FORMATS = {"json": (as_json, "application/json"), "csv": (as_csv, "text/csv"), "html": (as_html, "text/html")}


@router.get("/budgets")
async def budgets(request: Request) -> dict[str, Any]:
    """A page of accounts, by id."""
    page = query(request, requests.TenantPage)
    found = await admin_services(request).admin_service.accounts(page.tenant, page.limit + 1, page.after)
    return answers.listed([answers.budget(one) for one in found], page.limit)


@router.get("/budgets/{account}")
async def budget(request: Request, account: str) -> dict[str, Any]:
    """One account: `tenant:ID`, `project:ID` or `key:ID`."""
    return answers.budget(await admin_services(request).admin_service.balance(account))


@router.put("/budgets/{account}")
async def put_budget(request: Request, account: str) -> dict[str, Any]:
    """Change its budget, until its terms say another."""
    asked, at = await body(request, requests.PutBudget), admin_services(request)
    return answers.budget(await at.admin_service.set_budget(account, asked.budget, asked.period, actor=at.actor))


@router.get("/usage")
async def usage(request: Request) -> dict[str, Any]:
    """A page of calls as they were billed, newest first."""
    page = query(request, requests.UsagePage)
    rows = await admin_services(request).admin_service.usage_rows(page.tenant, page.limit + 1, page.after, page.key)
    return answers.listed([answers.usage(row) for row in rows], page.limit)


@router.get("/usage/summary")
async def usage_summary(request: Request) -> dict[str, Any]:
    """Calls, tokens, revenue, goods and margin by group."""
    asked = query(request, requests.Summed)
    sums = await usage_by(
        admin_services(request).admin_service.store, asked.by, since=asked.since, until=asked.until, tenant=asked.tenant
    )
    return answers.listed([answers.summary(one) for one in sums])


@router.get("/invoices/{tenant}/{month}", response_model=None)
async def tenants_invoice(request: Request, tenant: str, month: str) -> Response:
    """A tenant's month, `YYYY-MM`, in the format asked for."""
    asked, at = query(request, requests.Format), admin_services(request)
    admin = at.admin_service
    name = (await admin.tenant(tenant)).name
    drawn = await invoice(admin.store, tenant, month, admin.clock(), name=name, currency=at.currency)
    write, kind = FORMATS[asked.format]
    return Response(write(drawn), media_type=kind)
