"""The HTTP surface as one ASGI app: OpenAI's routes and errors over a Gateway."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app.api.anthropic import batches as message_batches
from app.api.anthropic import route as messages
from app.api.anthropic.dialect import error_for
from app.api.auth import door_of
from app.api.cors import Cors
from app.api.headers import Stamp
from app.api.methods import Methods
from app.api.openai import batches, embeddings, files, models, moderations, tokenize
from app.api.openai.chat import route as chat
from app.api.openai.completions import route as completions
from app.api.openai.responses import route as responses
from app.api.openai.responses.background import Runs
from app.api.openapi import document
from app.api.ops import health as ops
from app.api.ops import root
from app.api.stored.compactions import Compactions
from app.api.stored.idempotency import Idempotency
from app.api.stored.responses import Responses
from app.batches.service import BatchService
from app.core import errors
from app.core.errors import ApiError
from app.core.ports import PortError
from app.installation.paths import exports_folders
from app.installation.secrets import one_process
from app.pipeline.gateway import Gateway
from app.tenancy.admin import AdminService

log = logging.getLogger(__name__)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this class
    return error_for(request.scope, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    known = {404: errors.route_not_found, 405: errors.method_not_allowed}
    if error.status_code in known:
        told = known[error.status_code](request.method, request.url.path)
        return error_for(request.scope, told, error.headers)
    return error_for(request.scope, ApiError(error.status_code, str(error.detail)))


async def _port_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PortError)  # noqa: S101 - registered for this class
    log.error("%s", error)
    return error_for(request.scope, errors.stage_unavailable(error.port))


async def _broken(request: Request, _: Exception) -> Response:
    """Starlette sends this and raises on: headers.Stamp logs it."""
    return error_for(request.scope, errors.internal())


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


@dataclass(frozen=True, slots=True)
class ApiDependencies:
    """What the HTTP surface needs beside the gateway. metrics: what /metrics answers, as (body, content type).

    told: hears of requests that were stopped before they were calls. admin_service, admin_key: None is no admin API.
    responses: None stores none. archive: None is no files and no batches.
    """

    metrics: Callable[[], tuple[bytes, str]]
    told: Callable[[str], None] = lambda _: None
    idempotency: Idempotency | None = None
    admin_service: AdminService | None = None
    admin_key: str = ""
    responses: Responses | None = None
    archive: BatchService | None = None


def create_app(
    gateway: Gateway, dependencies: ApiDependencies, *, sends_id: bool = True, lifespan: Any = None
) -> ASGIApp:
    """`sends_id`: as headers.Stamp. `lifespan`: as FastAPI's."""
    # No redirect where a slash too many was sent: OpenAI answers 404, and clients do not follow a POST.
    app = FastAPI(title="Penstock", docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    app.state.gateway = gateway
    app.state.metrics = dependencies.metrics
    app.state.told = dependencies.told
    app.state.idempotency = dependencies.idempotency
    app.state.responses = dependencies.responses
    app.state.runs = Runs()
    # Without a database nothing outlives the process, nor does what clients carry for it.
    app.state.compactions = Compactions(dependencies.responses.sealer if dependencies.responses else one_process())
    for routes in (chat, completions, responses, messages, embeddings, moderations, tokenize, models, ops, root):
        app.include_router(routes.router)
    if dependencies.archive is not None:
        app.state.archive = dependencies.archive
        for kept in (files, batches, message_batches):
            app.include_router(kept.router)
    if dependencies.admin_service is not None:
        from app.api.ops import console, insight

        app.state.admin_service = dependencies.admin_service
        for pages in (console, insight):
            app.include_router(pages.router)
    if dependencies.admin_service is not None and dependencies.admin_key:
        from app.api.admin import install
        from app.api.admin.services import Outside

        install(
            app,
            dependencies.admin_service,
            dependencies.admin_key,
            door=lambda: door_of(app),
            currency=gateway.graph.state.currency,
            index=gateway.ports.index,
            outside=Outside(exports_folders(gateway.graph.state.exports), gateway.graph.webhooks.allow_private),
        )
    document.install(app)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(PortError, _port_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)
    return Stamp(Cors(Methods(app), gateway), sends_id=sends_id)
