"""`/cache`: what the semantic cache holds, and what it is told to forget. CLI -> [cache] -> Index, the audit chain."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.admin import requests
from app.api.admin.parsing import query
from app.api.admin.services import AdminServices, admin_services
from app.core import errors
from app.core.errors import ApiError
from app.core.ports import Index, PortError

router = APIRouter()


@router.get("/cache")
async def stock(request: Request) -> dict[str, Any]:
    """How many live entries each tenant has, and how many bytes of memory they take.

    saving: whether they also reach the store that survives a restart; null where none is configured.
    """
    query(request, requests.Nothing)
    try:
        held = await _index(admin_services(request)).stock()
    except PortError as error:
        raise _silent() from error
    tenants = [
        {"tenant": tenant, "entries": entries, "bytes": size}
        for tenant, (entries, size) in sorted(held.tenants.items())
    ]
    return {"object": "cache", "tenants": tenants, "evicted": held.evicted, "saving": held.saving}


@router.delete("/cache")
async def forget(request: Request) -> dict[str, Any]:
    """Drop what is of this tenant, model and prompt version; `all=true` where none of them is given."""
    asked, at = query(request, requests.Forget), admin_services(request)
    which = {"tenant": asked.tenant, "model": asked.model, "version": asked.version}
    if not any(which.values()) and not asked.all:
        raise errors.bad_request(
            "Name a tenant, model or version, or send all=true to empty the cache.", "all", "missing_required_parameter"
        )
    if asked.tenant is not None:
        await at.admin_service.tenant(asked.tenant)
    entries, saving = await forgotten(at, **which)
    await at.admin_service.note_forgetting(which, entries, actor=at.actor)
    return {"object": "cache.forgetting", **which, "entries": entries, "saving": saving}


async def forgotten(at: AdminServices, **which: str | None) -> tuple[int, bool | None]:
    """Forget it; how many entries there were, and whether the store is told too. Raises ApiError."""
    index = _index(at)
    try:
        return await index.forget(**which), (await index.stock()).saving
    except PortError as error:
        raise _silent() from error


def _silent() -> ApiError:
    said = "The semantic cache does not answer right now, and may still hold what it was asked for. Please repeat this."
    return ApiError(503, said, type="server_error", code="cache_unavailable", retry_after=2)


def _index(at: AdminServices) -> Index:
    if at.index is None:
        said = "The semantic cache lives in a running graph: name it by --url or PENSTOCK_URL."
        raise ApiError(404, said, code="not_found")
    return at.index
