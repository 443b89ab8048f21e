"""Runs a completion request's calls, one after the other, and sends what they yield: JSON, or chunks.

One call that fails fails the request; those before it are billed all the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from typing import Any

from starlette.types import Send

from app.api.answer import CallResponse, collect, send_json, usage_body
from app.api.errors import error_headers
from app.api.headers import of_call
from app.api.openai.completions.chunks import ChoicePart, Pieces, body, head, used
from app.api.sse import EventStream, Piece, data, pieces_of
from app.core.errors import ApiError
from app.core.reader import Later
from app.pipeline.gateway import Gateway


class CompletionAnswer(CallResponse):
    """`text_completion`: the whole answer as one JSON object.

    parts: at least one, each opened when its turn comes; opening raises ApiError (503) when the gateway is full.
    """

    def __init__(self, gateway: Gateway, parts: Iterator[ChoicePart]) -> None:
        self._first = next(parts)
        self._rest = parts
        self._done: list[ChoicePart] = []
        super().__init__(gateway, self._first.call, self._first.events)

    async def _run(self, send: Send) -> None:
        try:
            for part in self._parts():
                async with aclosing(part.events):
                    choices = await collect(part.events)
                if isinstance(choices, ApiError):
                    raise _here(choices)
                part.choices = choices
        except ApiError as error:
            await self._refuse(send, error)
            return
        await send_json(send, 200, body(self._done, self.model), self._facts(settled=True))

    def _parts(self) -> Iterator[ChoicePart]:
        """The calls in turn. `_done` holds them, the one on its way last."""
        self._done = [self._first]
        yield self._first
        for part in self._rest:
            self._done.append(part)
            yield part

    async def _refuse(self, send: Send, error: ApiError) -> None:
        await send_json(send, error.status, error.body(), error_headers(error) | self._facts(settled=True))

    def _facts(self, *, settled: bool) -> dict[str, str]:
        """Of the last call, with every call's id and the sum of their costs."""
        headers = of_call(self._done[-1].call, settled=settled)
        headers["x-penstock-call"] = ",".join(part.call.id for part in self._done)
        if settled:
            headers["x-penstock-cost"] = str(sum((Decimal(part.call.cost) for part in self._done), Decimal(0)))
        return headers


class CompletionStream(EventStream, CompletionAnswer):
    """`text_completion` chunks, one prompt's after the other's. The first call's first event decides the status."""

    def __init__(self, gateway: Gateway, parts: Iterator[ChoicePart], *, include_usage: bool) -> None:
        super().__init__(gateway, parts)
        self._include_usage = include_usage
        self._pieces = Pieces(self._first)
        self._head: dict[str, Any] = {}

    def head(self) -> dict[str, str]:
        """As every stream's, of the call on its way."""
        return super().head() | self._facts(settled=False)

    def opening(self) -> bytes:
        """Nothing; but only now is the model known, which every chunk names."""
        self._head = head(self.call, self.model) | ({"usage": None} if self._include_usage else {})
        return b""

    async def pieces(self) -> AsyncGenerator[Piece | Later, None]:
        """Of one call after the other. Raises the ApiError that ends one, or that keeps one from being opened."""
        patience = self.gateway.policy.generate.keep_alive
        try:
            for part in self._parts():
                self._pieces = Pieces(part)
                part.call.streamed = True
                async with aclosing(pieces_of(part.events, patience)) as pieces:
                    async for event in pieces:
                        if isinstance(event, Later) or self._pieces.tells(event):
                            yield event
        except ApiError as error:
            raise _here(error) from None

    def piece(self, event: Piece) -> bytes:
        """The one choice that it is about."""
        return data({**self._head, "choices": [self._pieces.of(event)]})

    async def ending(self) -> bytes:
        """What all calls used, where asked for, and `[DONE]`."""
        usage = {**self._head, "choices": [], "usage": usage_body(used(self._done))}
        return (data(usage) if self._include_usage else b"") + b"data: [DONE]\n\n"

    async def refused(self, send: Send, error: ApiError) -> None:
        """OpenAI's error, with the ids and costs of all calls."""
        await self._refuse(send, error)


def _here(error: ApiError) -> ApiError:
    """The stages know only messages; here it is called `prompt`."""
    return replace(error, param="prompt") if error.param == "messages" else error
