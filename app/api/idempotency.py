"""`Idempotency-Key`: a request sent again is answered again, not run and billed again. auth -> body -> [here] -> route.

The answer is recorded as it is sent, JSON or stream. Not kept is what the same request should get another chance at:
a hang-up, 408, 409, 429, 5xx, a stream that broke, and what is too large.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.api.stored.idempotency import Busy, Differs, Idempotency, Stored
from app.core import errors
from app.core.ports import PortError, Principal
from app.core.tasks import begin

log = logging.getLogger(__name__)
REPLAY = "x-penstock-idempotent-replay"
LARGEST = 1_000_000
"""Bytes of an answer that is kept."""
_PIECE = 65_536
_TOKEN = re.compile(r"[\x20-\x7e]{1,255}")
_RETRIED = frozenset({408, 409, 429})
# A line of a stream begins so only where the call failed: text within JSON holds no line's end.
_BROKEN = re.compile(rb'^(?:data: \{"error":|event: (?:error|response\.failed)\b)', re.MULTILINE)


async def once(
    request: Request, who: Principal, body: bytes, kept: Idempotency | None, answer: Callable[[], Awaitable[Response]]
) -> Response:
    """What `answer` returns, run once for each Idempotency-Key of this API key's. Without one: just run.

    kept None: the header is not looked at. Raises ApiError (400, 409), LedgerError, and what `answer` raises.
    """
    token = request.headers.get("idempotency-key")
    if token is None or kept is None:
        return await answer()
    if not _TOKEN.fullmatch(token):
        raise errors.bad_idempotency_key()
    found = await kept.claim(who.key_id, token, digest(request.method, request.url.path, body))
    if isinstance(found, Stored):
        return Replay(found)
    if isinstance(found, Busy):
        raise errors.idempotency_busy()
    if isinstance(found, Differs):
        raise errors.idempotency_differs()
    claim = _Claim(kept, who.key_id, token, found.claim)
    try:
        return Recorded(await answer(), claim)
    except BaseException:
        await claim.end(None)
        raise


def digest(method: str, path: str, body: bytes) -> str:
    """What must agree for two requests to be the same, hex."""
    return hashlib.sha256(orjson.dumps([method, path]) + b"\n" + body).hexdigest()


class _Claim:
    def __init__(self, kept: Idempotency, key_id: str, token: str, claim: str) -> None:
        self._kept = kept
        self._ids = (key_id, token, claim)
        self._ended = False

    async def end(self, answer: Stored | None) -> None:
        """Keep the answer, or release the claim without one. Only the first time; a hang-up does not stop it."""
        if not self._ended:
            self._ended = True
            work = self._kept.release(*self._ids) if answer is None else self._kept.keep(*self._ids, answer)
            await asyncio.shield(begin(_saying(work)))


class Recorded(Response):
    """Sends another response, and keeps what it sent."""

    def __init__(self, response: Response, claim: _Claim) -> None:
        self.background = None
        self._response = response
        self._claim = claim
        self._status = 0
        self._head: list[tuple[str, str]] = []
        self._parts: list[bytes] = []
        self._size = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def recording(message: Message) -> None:
            self._record(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                # Before the last of it goes out: who has the whole answer and asks again finds it kept.
                await self._claim.end(self._answer())
            await send(message)

        try:
            await self._response(scope, receive, recording)
        finally:
            await self._claim.end(None)

    def _record(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            raw = message.get("headers", ())
            self._head = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
        elif part := message.get("body", b""):
            self._size += len(part)
            self._parts.append(part)
            if self._size > LARGEST:
                self._parts.clear()

    def _answer(self) -> Stored | None:
        """What was sent, when it is to be kept."""
        if self._size > LARGEST or self._status >= 500 or self._status in _RETRIED:
            return None
        body = b"".join(self._parts)
        return None if _BROKEN.search(body) else Stored(self._status, self._head, body)


class Replay(Response):
    """Sends a kept answer: the same status, headers and bytes, a stream as a stream."""

    def __init__(self, stored: Stored) -> None:
        self.background = None
        self._stored = stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._stored.headers]
        headers.append((REPLAY.encode(), b"true"))
        await send({"type": "http.response.start", "status": self._stored.status, "headers": headers})
        for start in range(0, len(self._stored.body), _PIECE):
            piece = self._stored.body[start : start + _PIECE]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _saying(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except PortError as error:  # the client has its answer; a claim that stands ends by itself
        log.error("an Idempotency-Key's claim was not ended: %s", error)  # noqa: TRY400 - the sentence says it all
