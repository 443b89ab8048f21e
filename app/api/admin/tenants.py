"""`/plans`, `/tenants`, `/projects`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.admin import answers, requests
from app.api.admin.cache import forgotten
from app.api.admin.parsing import body, query
from app.api.admin.services import back
from app.core import errors
from app.tenancy.erasure import erase

router = APIRouter()


# -- plans -----------------------------------------------------------------------------------------


@router.get("/plans")
async def plans(request: Request) -> dict[str, Any]:
    """Every plan."""
    query(request, requests.Nothing)
    return answers.listed([answers.plan(one) for one in await back(request).office.plans()])


@router.put("/plans/{plan}")
async def put_plan(request: Request, plan: str) -> dict[str, Any]:
    """Make a plan, or change it for all its tenants."""
    asked, at = await body(request, requests.PutPlan), back(request)
    return answers.plan(await at.office.set_plan(plan, asked.terms, actor=at.actor))


# -- tenants ---------------------------------------------------------------------------------------


@router.get("/tenants")
async def tenants(request: Request) -> dict[str, Any]:
    """A page of tenants, by id."""
    page, at = query(request, requests.Page), back(request)
    found = await at.office.tenants(page.limit + 1, page.after)
    return answers.listed([answers.tenant(one, at.office.clock()) for one in found], page.limit)


@router.post("/tenants")
async def create_tenant(request: Request) -> dict[str, Any]:
    """A new tenant."""
    asked, at = await body(request, requests.NewTenant), back(request)
    made = await at.office.create_tenant(asked.id, name=asked.name, plan=asked.plan, terms=asked.terms, actor=at.actor)
    return answers.tenant(made, at.office.clock())


@router.get("/tenants/{tenant}")
async def tenant(request: Request, tenant: str) -> dict[str, Any]:
    """One tenant."""
    at = back(request)
    return answers.tenant(await at.office.tenant(tenant), at.office.clock())


@router.patch("/tenants/{tenant}")
async def change_tenant(request: Request, tenant: str) -> dict[str, Any]:
    """Change what is sent."""
    asked, at = await body(request, requests.ChangeTenant), back(request)
    changed = await at.office.update_tenant(tenant, asked.changes(), actor=at.actor)
    return answers.tenant(changed, at.office.clock())


@router.post("/tenants/{tenant}/pause")
async def pause(request: Request, tenant: str) -> dict[str, Any]:
    """Let none of its calls in."""
    asked, at = await body(request, requests.Pause), back(request)
    paused = await at.office.pause(tenant, asked.why, asked.until, actor=at.actor)
    return answers.tenant(paused, at.office.clock())


@router.post("/tenants/{tenant}/resume")
async def resume(request: Request, tenant: str) -> dict[str, Any]:
    """Let its calls in again."""
    at = back(request)
    return answers.tenant(await at.office.resume(tenant, actor=at.actor), at.office.clock())


@router.put("/tenants/{tenant}/content")
async def content(request: Request, tenant: str) -> dict[str, Any]:
    """Whether the texts of its calls are kept, sealed."""
    asked, at = await body(request, requests.Keep), back(request)
    await at.contents.set_keeping(tenant, asked.keep, at.actor)
    return answers.tenant(await at.office.tenant(tenant), at.office.clock())


@router.post("/tenants/{tenant}/erase")
async def erase_tenant(request: Request, tenant: str) -> dict[str, Any]:
    """Destroy its contents, cached answers and names and disable its keys. What was billed stays.

    cached: answers dropped from the semantic cache; null where no graph runs, and it should be told to forget.
    """
    asked, at = await body(request, requests.Erase), back(request)
    if asked.confirm != tenant:
        raise errors.bad_request(f"Write the tenant's id `{tenant}` to confirm.", "confirm", "invalid_value")
    await at.office.tenant(tenant)
    done = await erase(at.office.store, at.office.secrets, tenant, at.actor, at.office.clock())
    at.office.changed()
    cached = None if at.index is None else (await forgotten(at, tenant=tenant))[0]
    counts = {"contents": done.contents, "keys": done.keys, "webhooks": done.webhooks, "cached": cached}
    return {"id": tenant, "object": "tenant.erasure", "erased": True, **counts}


# -- projects --------------------------------------------------------------------------------------


@router.get("/projects")
async def projects(request: Request) -> dict[str, Any]:
    """A page of projects, by id."""
    page = query(request, requests.TenantPage)
    found = await back(request).office.projects(page.tenant, page.limit + 1, page.after)
    return answers.listed([answers.project(one) for one in found], page.limit)


@router.post("/projects")
async def create_project(request: Request) -> dict[str, Any]:
    """A new project."""
    asked, at = await body(request, requests.NewProject), back(request)
    made = await at.office.create_project(asked.tenant, asked.id, name=asked.name, terms=asked.terms, actor=at.actor)
    return answers.project(made)


@router.get("/projects/{project}")
async def project(request: Request, project: str) -> dict[str, Any]:
    """One project."""
    return answers.project(await back(request).office.project(project))


@router.patch("/projects/{project}")
async def change_project(request: Request, project: str) -> dict[str, Any]:
    """Change what is sent."""
    asked, at = await body(request, requests.ChangeProject), back(request)
    return answers.project(await at.office.update_project(project, asked.changes(), actor=at.actor))
