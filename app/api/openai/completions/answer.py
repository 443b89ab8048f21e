"""Runs a completion request's calls, one after the other, and sends what they yield: JSON, or chunks.

One call that fails fails the request; those before it are billed all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
from starlette.types import Send

from app.api.answer import SSE, CallResponse, collect, ends_call, send_head, send_json, usage_body
from app.api.errors import error_headers
from app.api.headers import of_call
from app.api.openai.completions.chunks import ChoicePart, Pieces, body, head, used
from app.core.errors import ApiError
from app.core.reader import Later, Reader
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


class CompletionStream(CompletionAnswer):
    """`text_completion` chunks, one prompt's after the other's. The first event of the first call decides the status.

    A stream that has nothing to say for `generate.keep_alive` seconds sends a comment.
    """

    def __init__(self, gateway: Gateway, parts: Iterator[ChoicePart], *, include_usage: bool) -> None:
        super().__init__(gateway, parts)
        self._include_usage = include_usage
        self._head: dict[str, Any] = {}

    async def _run(self, send: Send) -> None:
        try:
            for part in self._parts():
                await self._relay(part, send)
        except ApiError as error:
            if not self._head:
                await self._refuse(send, error)
                return
            await _body(send, b"data: " + orjson.dumps(error.body()) + b"\n\n", more=False)
            return
        await self._begin(send)
        usage = {**self._head, "choices": [], "usage": usage_body(used(self._done))}
        await _body(send, (_data(usage) if self._include_usage else b"") + b"data: [DONE]\n\n", more=False)

    async def _relay(self, part: ChoicePart, send: Send) -> None:
        """Send one call's chunks. Raises the ApiError that ends it."""
        patience = self.gateway.policy.generate.keep_alive
        pieces = Pieces(part)
        async with aclosing(part.events), aclosing(Reader(part.events)) as reader:
            while (event := await reader.next(patience)) is not None:
                if isinstance(event, Later):
                    await self._begin(send)
                    await _body(send, b": keep-alive\n\n")
                    continue
                if error := ends_call(event):
                    raise _here(error)
                for choice in pieces.of(event):
                    await self._begin(send)
                    await _body(send, _data({**self._head, "choices": [choice]}))

    async def _begin(self, send: Send) -> None:
        if self._head:
            return
        self._head = head(self.call, self.model) | ({"usage": None} if self._include_usage else {})
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        await send_head(send, 200, SSE, headers | self._facts(settled=False))


def _here(error: ApiError) -> ApiError:
    """The stages know only messages; here it is called `prompt`."""
    return replace(error, param="prompt") if error.param == "messages" else error


def _data(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


async def _body(send: Send, content: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})
