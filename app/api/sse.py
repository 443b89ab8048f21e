"""A call's events as server-sent events that have names. Responses, Messages -> [here] -> answer.CallResponse.

The call's first event decides the status; whatever fails after that is an event of the stream. A stream that has
nothing to say for `generate.keep_alive` seconds begins all the same, and says that it is alive.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import orjson
from starlette.types import Send

from app.api.answer import SSE, CallResponse, ends_call, send_head
from app.api.headers import of_call
from app.core.errors import ApiError
from app.core.events import Refusal, Token
from app.core.reader import Later, Reader

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class NamedEvents(CallResponse):
    """Subclasses shape it: each of these gives the bytes of no, one or several events."""

    def opening(self) -> bytes:
        """Before all else."""
        raise NotImplementedError

    def piece(self, event: Token | Refusal) -> bytes:
        """A Token, or a Refusal of the one choice."""
        raise NotImplementedError

    async def ending(self) -> bytes:
        """After the last event of a call that did not fail. The call is settled by then."""
        raise NotImplementedError

    def broken(self, error: ApiError) -> bytes:
        """In place of the rest."""
        raise NotImplementedError

    def quiet(self) -> bytes:
        """When nothing has come for a while."""
        return b": keep-alive\n\n"

    def head(self) -> dict[str, str]:
        """Its headers."""
        return HEADERS | of_call(self.call, settled=False)

    async def refused(self, send: Send, error: ApiError) -> None:
        """The whole answer, where the call failed before anything was sent."""
        raise NotImplementedError

    async def _run(self, send: Send) -> None:
        patience = self.gateway.policy.generate.keep_alive
        begun = False
        async with aclosing(Reader(self.events)) as reader:
            while (event := await reader.next(patience)) is not None:
                error = None if isinstance(event, Later) else ends_call(event)
                if error and not begun:
                    await self.events.aclose()
                    await self.refused(send, error)
                    return
                if not isinstance(event, Later | Token | Refusal) and not error:
                    continue
                if not begun:
                    begun = True
                    await self._begin(send)
                if error:
                    await _body(send, self.broken(error))
                    break
                await _body(send, self.piece(event) if isinstance(event, Token | Refusal) else self.quiet())
            else:
                if not begun:
                    await self._begin(send)
                await _body(send, await self.ending())
        # Only now, with the call closed and billed: who has the whole answer finds it so.
        await send({"type": "http.response.body", "body": b""})

    async def _begin(self, send: Send) -> None:
        await send_head(send, 200, SSE, self.head())
        await _body(send, self.opening())


async def _body(send: Send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


def named(name: str, data: dict[str, Any]) -> bytes:
    """One event. Its data names it too."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps({"type": name, **data}) + b"\n\n"
