"""The HTTP surface as one ASGI app: OpenAI's routes and errors over a Gateway."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app import errors
from app.errors import ApiError
from app.gateway import Gateway
from app.http.failure import JsonError
from app.http.headers import Stamp
from app.http.routes import chat, models, ops
from app.ports import PortError

log = logging.getLogger(__name__)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this class
    return JsonError(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    known = {404: errors.route_not_found, 405: errors.method_not_allowed}
    if error.status_code in known:
        return JsonError(known[error.status_code](request.method, request.url.path))
    return JsonError(ApiError(error.status_code, str(error.detail)))


async def _port_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, PortError)  # noqa: S101 - registered for this class
    log.error("%s", error)
    return JsonError(errors.room_unavailable(error.port))


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


def create_app(gateway: Gateway, metrics: Callable[[], tuple[bytes, str]], *, sends_id: bool = True) -> ASGIApp:
    """`metrics`: what /metrics answers, as (body, content type). `sends_id`: as headers.Stamp."""
    app = FastAPI(title="Penstock", docs_url=None, redoc_url=None)
    app.state.gateway = gateway
    app.state.metrics = metrics
    for routes in (chat, models, ops):
        app.include_router(routes.router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(PortError, _port_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    return Stamp(app, sends_id=sends_id)
