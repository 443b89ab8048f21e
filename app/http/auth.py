"""Whose call is it? Checked before the body is read, so that a stranger costs next to nothing."""

from __future__ import annotations

from starlette.requests import Request

from app import errors
from app.ports import Ledger, Principal


def presented_key(request: Request) -> str | None:
    """The key in `Authorization: Bearer`, `x-api-key` (Anthropic's) or `api-key` (Azure's)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("x-api-key") or request.headers.get("api-key")


async def authenticate(request: Request, ledger: Ledger) -> Principal:
    """The key's owner. Raises ApiError (401)."""
    key = presented_key(request)
    if not key:
        raise errors.missing_key()
    who = await ledger.identify(key)
    if who is None:
        raise errors.wrong_key()
    return who
