"""Every error as Anthropic's clients read it: `{"type":"error","error":{"type","message"},"request_id"}`.

route -> [fault]. Statuses stay, but for 503, which is Anthropic's 529.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.anthropic.limits import in_anthropics_words
from app.api.errors import error_headers
from app.core import errors
from app.core.call import REQUEST_ID, Call
from app.core.errors import ApiError
from app.core.ports import PortError

log = logging.getLogger(__name__)
KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
OVERLOADED = 529


def fault_body(error: ApiError, call: Call | None = None) -> dict[str, Any]:
    """The error object, in the words that Anthropic's clients parse. call: whose it is."""
    error = in_anthropics_words(error, call)
    kind = KINDS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": error.message},
        "request_id": REQUEST_ID.get() or None,
    }


def status_of(error: ApiError) -> int:
    """Its HTTP status."""
    return OVERLOADED if error.status == 503 else error.status


def id_header() -> dict[str, str]:
    """The request's id, where Anthropic's clients look for it."""
    return {"request-id": REQUEST_ID.get()}


class Fault(Response):
    """An ApiError as an HTTP response."""

    media_type = "application/json"

    def __init__(self, error: ApiError, headers: dict[str, str] | None = None) -> None:
        told = error_headers(error) | id_header() | (headers or {})
        super().__init__(orjson.dumps(fault_body(error)), status_of(error), told)


class FaultRoute(APIRoute):
    """A route whose every error has Anthropic's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, and what it raises as a response."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except ClientDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - nothing may reach a client in another shape
                return Fault(_explained(error))

        return guarded

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, also where the method is wrong."""
        if self.methods and scope["method"] not in self.methods:
            answer = Fault(errors.method_not_allowed(scope["method"], scope["path"]))
            answer.headers["allow"] = ", ".join(sorted(self.methods))
            await answer(scope, receive, send)
            return
        await super().handle(scope, receive, send)


def _explained(error: Exception) -> ApiError:
    """The client's error. Logs where it happened, never its message: that may quote the request."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, PortError):
        log.error("%s", error)
        return errors.stage_unavailable(error.port)
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s %s\n%s", REQUEST_ID.get(), type(error).__name__, frames)
    return errors.internal()
