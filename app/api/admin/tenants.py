"""`/plans`, `/tenants`, `/projects`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.admin import answers, requests
from app.api.admin.cache import forgotten
from app.api.admin.parsing import body, query
from app.api.admin.services import admin_services
from app.core import errors
from app.tenancy.erasure import erase

router = APIRouter()


# -- plans -----------------------------------------------------------------------------------------


@router.get("/plans")
async def plans(request: Request) -> dict[str, Any]:
    """Every plan."""
    query(request, requests.Nothing)
    return answers.listed([answers.plan(one) for one in await admin_services(request).admin_service.plans()])


@router.put("/plans/{plan}")
async def put_plan(request: Request, plan: str) -> dict[str, Any]:
    """Make a plan, or change it for all its tenants."""
    asked, at = await body(request, requests.PutPlan), admin_services(request)
    return answers.plan(await at.admin_service.set_plan(plan, asked.terms, actor=at.actor))


# -- tenants ---------------------------------------------------------------------------------------


@router.get("/tenants")
async def tenants(request: Request) -> dict[str, Any]:
    """A page of tenants, by id."""
    page, at = query(request, requests.Page), admin_services(request)
    found = await at.admin_service.tenants(page.limit + 1, page.after)
    return answers.listed([answers.tenant(one, at.admin_service.clock()) for one in found], page.limit)


@router.post("/tenants")
async def create_tenant(request: Request) -> dict[str, Any]:
    """A new tenant."""
    asked, at = await body(request, requests.NewTenant), admin_services(request)
    made = await at.admin_service.create_tenant(
        asked.id, name=asked.name, plan=asked.plan, terms=asked.terms, actor=at.actor
    )
    return answers.tenant(made, at.admin_service.clock())


@router.get("/tenants/{tenant}")
async def tenant(request: Request, tenant: str) -> dict[str, Any]:
    """One tenant."""
    at = admin_services(request)
    return answers.tenant(await at.admin_service.tenant(tenant), at.admin_service.clock())


@router.patch("/tenants/{tenant}")
async def change_tenant(request: Request, tenant: str) -> dict[str, Any]:
    """Change what is sent."""
    asked, at = await body(request, requests.ChangeTenant), admin_services(request)
    changed = await at.admin_service.update_tenant(tenant, asked.changes(), actor=at.actor)
    return answers.tenant(changed, at.admin_service.clock())


@router.post("/tenants/{tenant}/pause")
async def pause(request: Request, tenant: str) -> dict[str, Any]:
    """Let none of its calls in."""
    asked, at = await body(request, requests.Pause), admin_services(request)
    paused = await at.admin_service.pause(tenant, asked.why, asked.until, actor=at.actor)
    return answers.tenant(paused, at.admin_service.clock())


@router.post("/tenants/{tenant}/resume")
async def resume(request: Request, tenant: str) -> dict[str, Any]:
    """Let its calls in again."""
    at = admin_services(request)
    return answers.tenant(await at.admin_service.resume(tenant, actor=at.actor), at.admin_service.clock())


@router.put("/tenants/{tenant}/content")
async def content(request: Request, tenant: str) -> dict[str, Any]:
    """Whether the texts of its calls are kept, sealed."""
    asked, at = await body(request, requests.Keep), admin_services(request)
    await at.contents.set_keeping(tenant, asked.keep, at.actor)
    return answers.tenant(await at.admin_service.tenant(tenant), at.admin_service.clock())


@router.post("/tenants/{tenant}/erase")
async def erase_tenant(request: Request, tenant: str) -> dict[str, Any]:
    """Destroy its contents, cached answers and names and disable its keys. What was billed stays.

    cached: answers dropped from the semantic cache; null where no graph runs, and it should be told to forget.
    """
    asked, at = await body(request, requests.Erase), admin_services(request)
    if asked.confirm != tenant:
        raise errors.bad_request(f"Write the tenant's id `{tenant}` to confirm.", "confirm", "invalid_value")
    await at.admin_service.tenant(tenant)
    done = await erase(at.admin_service.store, at.admin_service.secrets, tenant, at.actor, at.admin_service.clock())
    at.admin_service.changed()
    cached = None if at.index is None else (await forgotten(at, tenant=tenant))[0]
    counts = {"contents": done.contents, "keys": done.keys, "webhooks": done.webhooks, "cached": cached}
    return {"id": tenant, "object": "tenant.erasure", "erased": True, **counts}


# -- projects --------------------------------------------------------------------------------------


@router.get("/projects")
async def projects(request: Request) -> dict[str, Any]:
    """A page of projects, by id."""
    page = query(request, requests.TenantPage)
    found = await admin_services(request).admin_service.projects(page.tenant, page.limit + 1, page.after)
    return answers.listed([answers.project(one) for one in found], page.limit)


@router.post("/projects")
async def create_project(request: Request) -> dict[str, Any]:
    """A new project."""
    asked, at = await body(request, requests.NewProject), admin_services(request)
    made = await at.admin_service.create_project(
        asked.tenant, asked.id, name=asked.name, terms=asked.terms, actor=at.actor
    )
    return answers.project(made)


@router.get("/projects/{project}")
async def project(request: Request, project: str) -> dict[str, Any]:
    """One project."""
    return answers.project(await admin_services(request).admin_service.project(project))


@router.patch("/projects/{project}")
async def change_project(request: Request, project: str) -> dict[str, Any]:
    """Change what is sent."""
    asked, at = await body(request, requests.ChangeProject), admin_services(request)
    return answers.project(await at.admin_service.update_project(project, asked.changes(), actor=at.actor))
