"""`GET /v1/models` and `/v1/models/{id}`: `auto`, the tiers, the pools' models; the encoder's and the moderator's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.anthropic import models as anthropic
from app.api.anthropic.dialect import speaks
from app.api.auth import authenticate
from app.core import errors
from app.pipeline.gateway import Gateway

router = APIRouter()


def _model(gateway: Gateway, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": gateway.created, "owned_by": "penstock"}


def _names(gateway: Gateway) -> list[str]:
    """Each once: a pool's model may be called like the encoder's."""
    policy = gateway.policy
    aliases = (name for name in policy.aliases if "*" not in name)
    return list(dict.fromkeys((*gateway.catalog.names, *policy.judges, *aliases)))


@router.get("/v1/models")
async def models(request: Request) -> Mapping[str, Any]:
    """Everything that `model` may be, on one endpoint or another; Anthropic's clients are told in their shape."""
    gateway: Gateway = request.app.state.gateway
    await authenticate(request, "models")
    if speaks(request.scope):
        return anthropic.models(gateway, request, _names(gateway))
    return {"object": "list", "data": [_model(gateway, name) for name in _names(gateway)]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> Mapping[str, Any]:
    """One of them; with no name all, as some clients write the list's address."""
    if not name:
        return await models(request)
    gateway: Gateway = request.app.state.gateway
    await authenticate(request, "models")
    if gateway.catalog.resolved(name) not in (names := _names(gateway)):
        raise errors.model_not_found(name, names)
    if speaks(request.scope):
        return anthropic.model(gateway, name)
    return _model(gateway, name)
