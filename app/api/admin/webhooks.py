"""`/webhooks`, `/notices`: who is told of what, and what they were told. A webhook's secret is shown once."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.admin import answers, requests
from app.api.admin.parsing import body, query
from app.api.admin.services import AdminServices, admin_services
from app.core.refusals import UnknownError
from app.notifications.targets import check_target

router = APIRouter()


@router.get("/webhooks")
async def webhooks(request: Request) -> dict[str, Any]:
    """Every webhook, oldest first."""
    query(request, requests.Nothing)
    return answers.listed([answers.webhook(one) for one in await admin_services(request).notices.webhooks()])


@router.post("/webhooks")
async def add_webhook(request: Request) -> dict[str, Any]:
    """A new webhook, and what its deliveries are signed with."""
    asked, at = await body(request, requests.NewWebhook), admin_services(request)
    if asked.tenant is not None:
        await at.admin_service.tenant(asked.tenant)
    await check_target(asked.url, allow_private=at.outside.private)
    webhook, secret = await at.notices.add_webhook(asked.url, asked.tenant, asked.events, at.actor)
    return await _shown(at, webhook) | {"secret": secret}


@router.post("/webhooks/{webhook}/rotate")
async def rotate_webhook(request: Request, webhook: str) -> dict[str, Any]:
    """A new secret; the old one signs beside it for a day."""
    at = admin_services(request)
    shown = await _shown(at, webhook)
    return shown | {"secret": await at.notices.rotate(webhook, at.actor)}


@router.delete("/webhooks/{webhook}")
async def remove_webhook(request: Request, webhook: str) -> dict[str, Any]:
    """Send it nothing more."""
    at = admin_services(request)
    await _shown(at, webhook)
    await at.notices.remove_webhook(webhook, at.actor)
    return {"id": webhook, "object": "webhook", "deleted": True}


@router.get("/notices")
async def notices(request: Request) -> dict[str, Any]:
    """The last notices, newest first, each with its deliveries."""
    asked = query(request, requests.NoticePage)
    told = await admin_services(request).notices.history(asked.limit + 1, asked.tenant)
    return answers.listed([answers.notice(one, sent) for one, sent in told], asked.limit)


async def _shown(at: AdminServices, webhook: str) -> dict[str, Any]:
    found = next((one for one in await at.notices.webhooks() if one.id == webhook), None)
    if found is None:
        raise UnknownError(f"There is no webhook `{webhook}`: list the webhooks to see their ids.")
    return answers.webhook(found)
