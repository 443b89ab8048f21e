"""What every POST route does before its own part: who calls, may they, the body, and whether it is a repetition.

routes -> [here] -> auth, body, idempotency; the route's own part -> Posted.open -> gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from app.api.auth import authenticate, batch_line
from app.api.body import read_body
from app.api.idempotency import once
from app.core import errors
from app.core.call import Call
from app.core.events import Prompt
from app.core.ports import Principal
from app.core.stage import Events
from app.pipeline.gateway import Gateway


@dataclass(frozen=True, slots=True)
class Posted:
    """A request that may be answered."""

    gateway: Gateway
    who: Principal
    request: Request
    body: bytes

    def must_know(self, model: str) -> None:
        """Raises ApiError (404) for a name that no tier answers to."""
        if not self.gateway.catalog.tiers_of(self.gateway.catalog.resolved(model)):
            raise errors.model_not_found(model, self.gateway.catalog.names)

    def open(self, prompt: Prompt, *, screen: str | None = None, shared: bool = True) -> tuple[Call, Events]:
        """A call in the caller's name. `Cache-Control: no-cache` skips the lookup, `no-store` the storing.

        screen: as Call.screen. shared: whether its answer may be another's. Raises ApiError (503).
        """
        if self.gateway.policy.generate.clamp:
            prompt = replace(prompt, clamps=True)
        caching = self.request.headers.get("cache-control", "") if shared else "no-cache, no-store"
        return self.gateway.open(
            self.who,
            prompt,
            read_cache="no-cache" not in caching,
            write_cache="no-store" not in caching,
            traceparent=self.request.headers.get("traceparent"),
            screen=screen,
            line=batch_line(self.request),
        )


async def read(request: Request, scope: str) -> Posted:
    """The request, once its caller is known and its body is here. scope: what the key must be for. Raises ApiError."""
    gateway: Gateway = request.app.state.gateway
    who = await authenticate(request, scope)
    return Posted(gateway, who, request, await read_body(request, gateway.policy.admit.max_body_bytes))


async def posted(request: Request, scope: str, answer: Callable[[Posted], Awaitable[Response]]) -> Response:
    """What `answer` returns, once for each Idempotency-Key. scope: what the key must be for. Raises ApiError."""
    post = await read(request, scope)
    return await once(request, post.who, post.body, request.app.state.idempotency, lambda: answer(post))
