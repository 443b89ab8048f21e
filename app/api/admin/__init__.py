"""The admin API under /admin/v1: an app of its own, with its own key and errors. api.app, CLI -> [admin] -> tenancy."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fastapi import Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.admin import audit, cache, keys, money, tenants, webhooks
from app.api.admin.auth import Guard
from app.api.admin.services import AdminServices, Outside, admin_services
from app.api.errors import JsonError
from app.api.ip_limits import IpLimiter
from app.core import errors
from app.core.errors import ApiError
from app.core.ports import Index
from app.core.refusals import LedgerError, TakenError, UnknownError
from app.installation.secrets import SealError
from app.tenancy.admin import AdminService

log = logging.getLogger(__name__)
PREFIX = "/admin/v1"


def install(
    app: FastAPI,
    admin_service: AdminService,
    admin_key: str,
    *,
    door: Callable[[], IpLimiter] | None = None,
    currency: str = "USD",
    actor: str = "admin",
    index: Index | None = None,
    outside: Outside | None = None,
) -> None:
    """Serve the admin API below PREFIX. currency: of invoices. actor: who the audit chain says it was.

    door: gives the limits by address that are in force. index: the semantic cache; None where no graph runs.
    outside: what an admin key reaches beyond the database; by default nothing.
    """
    admin = FastAPI(openapi_url=None, dependencies=[Depends(Guard(admin_key, door)), Depends(_begun)])
    admin.state.admin_services = AdminServices(admin_service, currency, actor, index, outside)
    for routes in (tenants, keys, money, audit, webhooks, cache):
        admin.include_router(routes.router)
    admin.add_exception_handler(ApiError, _api_error)
    admin.add_exception_handler(LedgerError, _ledger_error)
    admin.add_exception_handler(SealError, _seal_error)
    admin.add_exception_handler(HTTPException, _http_error)
    admin.add_exception_handler(Exception, _broken)
    app.mount(PREFIX, admin)


def refusal(error: LedgerError) -> ApiError:
    """What the admin service refused, as the caller's error; what the database could not do, as ours."""
    said = str(error).removeprefix("ledger: ")
    if isinstance(error, UnknownError):
        return ApiError(404, said, code="not_found")
    if isinstance(error, TakenError):
        return ApiError(409, said, code="conflict")
    if error.outage:
        return ApiError(503, said, type="server_error", code="ledger_unavailable", retry_after=2)
    return errors.bad_request(said, code="invalid_value")


async def _begun(request: Request) -> None:
    """Before anything is changed: the secret must be the one that signs this database's audit chain."""
    if request.method != "GET":
        await admin_services(request).admin_service.begin()


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this class
    return JsonError(error)


async def _ledger_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, LedgerError)  # noqa: S101 - registered for this class
    answer = refusal(error)
    if answer.status == 503:
        log.error("%s", error)
    return JsonError(answer)


async def _seal_error(_: Request, error: Exception) -> Response:
    return JsonError(ApiError(409, f"This cannot be opened: {error}.", code="conflict"))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    known = {404: errors.route_not_found, 405: errors.method_not_allowed}
    if error.status_code in known:
        return JsonError(known[error.status_code](request.method, request.url.path))
    return JsonError(ApiError(error.status_code, str(error.detail)))


async def _broken(_: Request, __: Exception) -> Response:
    return JsonError(errors.internal())
