"""A call's events as server-sent events. Chat, completions, Responses, Messages -> [here] -> answer.CallResponse.

The call's first event decides the status; whatever fails after that is an event of the stream. A stream that has
nothing to say for `generate.keep_alive` seconds begins all the same, and says that it is alive. Each event is asked for
only once the server has taken the last: who reads slowly slows the engine's reader down.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.types import Send

from app.api.answer import CallResponse, ends_call, send_error, send_head
from app.api.headers import of_call
from app.core.errors import ApiError
from app.core.events import Refusal, Token
from app.core.reader import Later, Reader
from app.core.stage import Events

KIND = "text/event-stream; charset=utf-8"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_LINE_ENDS = tuple((one.encode(), rb"\u%04x" % ord(one)) for one in "\u2028\u2029\x85")
Piece = Token | Refusal
"""What of a call a client hears of while it runs. A Refusal here ends one choice, not the call."""


class EventStream(CallResponse):
    """Subclasses shape it: each of these gives the bytes of no, one or several events."""

    def opening(self) -> bytes:
        """Before all else."""
        return b""

    def piece(self, event: Piece) -> bytes:
        """A Token, or a Refusal of one choice."""
        raise NotImplementedError

    async def ending(self) -> bytes:
        """After the last event of a call that did not fail. The call is settled by then."""
        raise NotImplementedError

    def broken(self, error: ApiError) -> bytes:
        """In place of the rest."""
        return data(error.body())

    def quiet(self) -> bytes:
        """When nothing has come for a while: clients and proxies close a connection that is silent for long."""
        return b": keep-alive\n\n"

    def head(self) -> dict[str, str]:
        """Its headers."""
        return HEADERS | of_call(self.call, settled=False)

    async def refused(self, send: Send, error: ApiError) -> None:
        """The whole answer, where the call failed before anything was sent."""
        await send_error(send, error, self.call)

    def pieces(self) -> AsyncGenerator[Piece | Later, None]:
        """What there is to send, as it comes. Raises the ApiError that ended the call, once the call is closed."""
        self.call.streamed = True
        return pieces_of(self.events, self.gateway.policy.generate.keep_alive)

    async def _run(self, send: Send) -> None:
        begun = False
        try:
            async with aclosing(self.pieces()) as pieces:
                async for event in pieces:
                    if not begun:
                        begun = True
                        await self._begin(send)
                    await _body(send, self.quiet() if isinstance(event, Later) else self.piece(event))
        except ApiError as error:
            if not begun:
                await self.refused(send, error)
                return
            await _body(send, self.broken(error))
        else:
            if not begun:
                await self._begin(send)
            await _body(send, await self.ending())
        # Only now, with the call closed and billed: who has the whole answer finds it so.
        await send({"type": "http.response.body", "body": b""})

    async def _begin(self, send: Send) -> None:
        await send_head(send, 200, KIND, self.head())
        await _body(send, self.opening())


async def pieces_of(events: Events, patience: float | None) -> AsyncGenerator[Piece | Later, None]:
    """Of a call's events those that a client hears of; LATER after every `patience` seconds without one.

    Raises the ApiError that ends the call. Closes the events in any case.
    """
    async with aclosing(Reader(events)) as reader:
        while (event := await reader.next(patience)) is not None:
            if isinstance(event, Later):
                yield event
            elif error := ends_call(event):
                raise error
            elif isinstance(event, Token | Refusal):
                yield event


async def _body(send: Send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


def dumps(said: Any) -> bytes:
    """JSON for one line of an event: characters that some readers take for a line's end are escaped."""
    body = orjson.dumps(said)
    if b"\xe2\x80" in body or b"\xc2\x85" in body:
        for character, escaped in _LINE_ENDS:
            body = body.replace(character, escaped)
    return body


def data(said: dict[str, Any]) -> bytes:
    """One event without a name."""
    return b"data: " + dumps(said) + b"\n\n"


def named(name: str, said: dict[str, Any]) -> bytes:
    """One event. Its data names it too."""
    return b"event: " + name.encode() + b"\n" + data({"type": name, **said})
