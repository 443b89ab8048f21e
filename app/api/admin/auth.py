"""Only the operator: one key, compared as hashes in constant time. Asked before anything is read."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from starlette.requests import Request

from app.api.ip_limits import IpLimiter
from app.core import errors


class Guard:
    """A dependency of every admin route. door: gives the limits by address in force, or None for none."""

    def __init__(self, admin_key: str, door: Callable[[], IpLimiter] | None = None) -> None:
        self._hash = _hash(admin_key)
        self._door = door

    async def __call__(self, request: Request) -> None:
        """Let the operator in. Raises ApiError (400, 401, 429)."""
        door = self._door() if self._door else None
        if door:
            door.check(request)
            door.check_failures(request)  # before the key: an operator may have chosen one that can be guessed
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        if not hmac.compare_digest(_hash(key), self._hash):
            if door:
                door.failed(request)
            raise errors.wrong_key() if key else errors.missing_key()
        if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
            raise errors.bad_request("The URL holds a NUL character, which no id does.", code="invalid_value")


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
