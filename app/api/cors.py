"""Browsers of other origins, where the policy lets them in (`api.origins`).  Stamp -> [cors] -> methods.

The policy in force decides at each request: a changed one needs no restart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import JsonError
from app.api.openapi.document import CALL_HEADERS, HEADERS, MORE_HEADERS
from app.core import errors
from app.pipeline.gateway import Gateway

EXPOSED = sorted(
    {*HEADERS, *MORE_HEADERS, *CALL_HEADERS}
    | {"retry-after", "x-should-retry", "x-client-request-id", "x-penstock-ignored", "x-penstock-max-tokens"}
    | {"x-penstock-guard", "x-penstock-leak", "x-penstock-idempotent-replay"}
)
"""Headers of answers that a page may read."""
METHODS = ("GET", "HEAD", "POST", "DELETE")
MAX_AGE = 600
"""Seconds for which a browser need not ask again."""


class Cors:
    """No origins: as if it were not there."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway
        self._origins: Sequence[str] = ()
        self._inner: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = self._gateway.policy.api.origins if self._gateway.configured else ()
        if origins != self._origins:
            self._origins, self._inner = origins, _Open(self._app, origins) if origins else self._app
        await self._inner(scope, receive, send)


class _Open(CORSMiddleware):
    """Starlette's, with an answer to the browser's question that has no body, or is an error of ours."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        patterns = [re.escape(one).replace(r"\*", "[^/]*") for one in origins if "*" in one and one != "*"]
        super().__init__(
            app,
            allow_origins=origins,
            allow_origin_regex="|".join(patterns) or None,
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=EXPOSED,
            max_age=MAX_AGE,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        headers = {
            name: value for name, value in answer.headers.items() if name not in ("content-length", "content-type")
        }
        if answer.status_code < 400:
            return Response(status_code=204, headers=headers)
        return JsonError(errors.origin_not_allowed(), headers)
