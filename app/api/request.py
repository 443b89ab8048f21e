"""What every POST route does before its own part: who calls, may they, the body, and whether it is a repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import authenticate
from app.api.body import read_body
from app.api.idempotency import once
from app.core.ports import Principal
from app.pipeline.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Posted:
    """A request that may be answered."""

    gateway: Gateway
    who: Principal
    request: Request
    body: bytes

    @property
    def traceparent(self) -> str | None:
        """The caller's W3C trace header."""
        return self.request.headers.get("traceparent")


async def posted(request: Request, scope: str, answer: Callable[[Posted], Response]) -> Response:
    """What `answer` returns, once for each Idempotency-Key. scope: what the key must be for. Raises ApiError."""
    gateway: Gateway = request.app.state.gateway
    who = await authenticate(request, scope)
    body = await read_body(request, gateway.policy.admit.max_body_bytes)

    async def run() -> Response:
        return answer(Posted(gateway, who, request, body))

    return await once(request, who, body, request.app.state.idempotency, run)
