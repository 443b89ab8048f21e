"""`GET /v1/models` and `/v1/models/{id}`: `auto`, the tiers, and the pools' models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app import errors
from app.gateway import Gateway
from app.http.auth import authenticate

router = APIRouter()


def _model(gateway: Gateway, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": gateway.created, "owned_by": "penstock"}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Everything that `model` may be."""
    gateway: Gateway = request.app.state.gateway
    await authenticate(request, gateway.services.ledger, "models")
    return {"object": "list", "data": [_model(gateway, name) for name in gateway.menu.names]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    gateway: Gateway = request.app.state.gateway
    await authenticate(request, gateway.services.ledger, "models")
    if name not in gateway.menu.names:
        raise errors.model_not_found(name, gateway.menu.names)
    return _model(gateway, name)
