"""For operators: `/healthz` (alive), `/readyz` (every needed deployment answers), `/metrics` (Prometheus)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from app.api.auth import authenticate
from app.pipeline.gateway import Gateway

router = APIRouter()


@router.get("/healthz", response_model=None)
async def healthz() -> Response:
    """The gateway process is alive."""
    return PlainTextResponse("ok\n")


@router.get("/readyz", response_model=None)
async def readyz(request: Request) -> Response:
    """200 when a call would find every stage it needs; 503 names what does not answer."""
    gateway: Gateway = request.app.state.gateway
    waiting = await gateway.waiting_for()
    status = {"status": "not ready", "waiting_for": waiting} if waiting else {"status": "ready"}
    return JSONResponse(status, 503 if waiting else 200)


@router.get("/metrics", response_model=None)
async def metrics(request: Request) -> Response:
    """The gateway's metrics, in Prometheus' text format."""
    if request.app.state.gateway.policy.observability.metrics == "key":
        await authenticate(request, "metrics")
    body, kind = request.app.state.metrics()
    return Response(body, media_type=kind)
