"""`/keys`. A key itself is in an answer once: when it was made."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.admin import answers, requests
from app.api.admin.parsing import body, query
from app.api.admin.services import back

router = APIRouter()


@router.get("/keys")
async def keys(request: Request) -> dict[str, Any]:
    """A page of keys, oldest first."""
    page, at = query(request, requests.TenantPage), back(request)
    found = await at.office.keys(page.tenant, page.limit + 1, page.after)
    return answers.listed([answers.key(one, at.office.clock()) for one in found], page.limit)


@router.post("/keys")
async def create_key(request: Request) -> dict[str, Any]:
    """A new key."""
    asked, at = await body(request, requests.NewKey), back(request)
    made, key = await at.office.create_key(asked.tenant, asked.changes(), project=asked.project, actor=at.actor)
    return answers.key(made, at.office.clock(), key)


@router.get("/keys/{key}")
async def key(request: Request, key: str) -> dict[str, Any]:
    """One key, by its id."""
    at = back(request)
    return answers.key(await at.office.key(key), at.office.clock())


@router.patch("/keys/{key}")
async def change_key(request: Request, key: str) -> dict[str, Any]:
    """Change what is sent."""
    asked, at = await body(request, requests.ChangeKey), back(request)
    return answers.key(await at.office.update_key(key, asked.changes(), actor=at.actor), at.office.clock())


@router.post("/keys/{key}/rotate")
async def rotate(request: Request, key: str) -> dict[str, Any]:
    """A new key in its place."""
    asked, at = await body(request, requests.Rotate), back(request)
    made, new = await at.office.rotate_key(key, asked.overlap_seconds, actor=at.actor)
    return answers.key(made, at.office.clock(), new)


@router.post("/keys/{key}/disable")
async def disable(request: Request, key: str) -> dict[str, Any]:
    """Stop it for good."""
    at = back(request)
    return answers.key(await at.office.disable_key(key, actor=at.actor), at.office.clock())


@router.post("/keys/{key}/reinstate")
async def reinstate(request: Request, key: str) -> dict[str, Any]:
    """Lift its suspension or throttle."""
    at = back(request)
    return answers.key(await at.office.reinstate_key(key, actor=at.actor), at.office.clock())
