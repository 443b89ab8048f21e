"""Whose call is it? Checked before the body is read, so that a stranger costs next to nothing."""

from __future__ import annotations

import math
import time

from starlette.applications import Starlette
from starlette.requests import Request

from app.api.ip_limits import IpLimiter
from app.api.token_buckets import TokenBuckets
from app.core import errors
from app.core.call import BATCH_LINE, BatchLine
from app.core.ports import Authenticator, Principal

CALLS = frozenset(
    ("POST", f"/v1/{path}")
    for path in (
        "chat/completions", "completions", "responses", "responses/compact", "messages", "embeddings", "moderations",
    )
)  # fmt: skip
"""What the ledger counts and limits. All else costs nothing, and is counted here, in this process alone."""


def presented_key(request: Request) -> str | None:
    """The key in `Authorization: Bearer`, `x-api-key` (Anthropic's) or `api-key` (Azure's)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key") or request.headers.get("api-key")


def batch_line(request: Request) -> BatchLine | None:
    """The batch line that the request is; None for whoever came over the network.

    It travels in the ASGI scope's state, which only who calls the app in this process can write.
    """
    line: BatchLine | None = getattr(request.state, BATCH_LINE, None)
    return line


def door_of(app: Starlette) -> IpLimiter:
    """The door as the policy in force has it: a changed one starts with fresh counts."""
    state = app.state
    settings = state.gateway.policy.ip_limits
    if getattr(state, "door_settings", None) != settings:
        state.door_settings = settings
        state.door = IpLimiter(**settings.model_dump(), told=state.told)
    door: IpLimiter = state.door
    return door


async def authenticate(request: Request, scope: str) -> Principal:
    """The key's owner, who may do what `scope` names. Raises ApiError (401, 403, 429)."""
    line = batch_line(request)
    who = line.who if line else await _known(request)
    if line is None and (request.method, request.scope["path"]) not in CALLS:
        _count(request, who)
    if who.suspended:
        raise errors.key_suspended(who.suspended)
    if who.paused:
        raise errors.tenant_paused(who.paused)
    if who.scopes and scope not in who.scopes:
        raise errors.missing_scope(scope)
    return who


def _count(request: Request, who: Principal) -> None:
    """Take one of the key's requests that cost nothing. Raises ApiError (429)."""
    state = request.app.state
    allowed = state.gateway.policy.admit.free_per_minute
    if getattr(state, "free_allowed", None) != allowed:  # a changed policy starts with fresh counts
        state.free_allowed, state.free = allowed, TokenBuckets(allowed)
    if wait := state.free.take(who.key_id, time.monotonic()):
        raise errors.rate_limited("requests per minute of this API key that are no calls", math.ceil(wait))


async def _known(request: Request) -> Principal:
    """Whose key the request presents. Raises ApiError (401, 429)."""
    door = door_of(request.app)
    door.check(request)
    key = presented_key(request)
    authenticator: Authenticator = request.app.state.gateway.ports.authenticator
    who = await authenticator.identify(key) if key else None
    if who is None:
        door.check_failures(request)  # after the lookup: a stranger behind the same proxy shuts no right key out
        if key:
            door.failed(request)
        request.app.state.told("wrong_key" if key else "missing_key")
        raise errors.wrong_key() if key else errors.missing_key()
    return who
