"""`/keys`. A key itself is in an answer once: when it was made."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.admin import answers, requests
from app.api.admin.parsing import body, query
from app.api.admin.services import admin_services

router = APIRouter()


@router.get("/keys")
async def keys(request: Request) -> dict[str, Any]:
    """A page of keys, oldest first."""
    page, at = query(request, requests.TenantPage), admin_services(request)
    found = await at.admin_service.keys(page.tenant, page.limit + 1, page.after)
    return answers.listed([answers.key(one, at.admin_service.clock()) for one in found], page.limit)


@router.post("/keys")
async def create_key(request: Request) -> dict[str, Any]:
    """A new key."""
    asked, at = await body(request, requests.NewKey), admin_services(request)
    made, key = await at.admin_service.create_key(asked.tenant, asked.changes(), project=asked.project, actor=at.actor)
    return answers.key(made, at.admin_service.clock(), key)


@router.get("/keys/{key}")
async def key(request: Request, key: str) -> dict[str, Any]:
    """One key, by its id."""
    at = admin_services(request)
    return answers.key(await at.admin_service.key(key), at.admin_service.clock())


@router.patch("/keys/{key}")
async def change_key(request: Request, key: str) -> dict[str, Any]:
    """Change what is sent."""
    asked, at = await body(request, requests.ChangeKey), admin_services(request)
    return answers.key(
        await at.admin_service.update_key(key, asked.changes(), actor=at.actor), at.admin_service.clock()
    )


@router.post("/keys/{key}/rotate")
async def rotate(request: Request, key: str) -> dict[str, Any]:
    """A new key in its place."""
    asked, at = await body(request, requests.Rotate), admin_services(request)
    made, new = await at.admin_service.rotate_key(key, asked.overlap_seconds, actor=at.actor)
    return answers.key(made, at.admin_service.clock(), new)


@router.post("/keys/{key}/disable")
async def disable(request: Request, key: str) -> dict[str, Any]:
    """Stop it for good."""
    at = admin_services(request)
    return answers.key(await at.admin_service.disable_key(key, actor=at.actor), at.admin_service.clock())


@router.post("/keys/{key}/reinstate")
async def reinstate(request: Request, key: str) -> dict[str, Any]:
    """Lift its suspension or throttle."""
    at = admin_services(request)
    return answers.key(await at.admin_service.reinstate_key(key, actor=at.actor), at.admin_service.clock())
