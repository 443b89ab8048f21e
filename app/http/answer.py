"""A call's events as an HTTP response: OpenAI's JSON, or its server-sent events.

The response runs the call. When the client hangs up, or the server cancels the request, the events are closed,
which aborts the engine and settles the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.call import Call
from app.errors import ApiError
from app.events import Event, Failure, Refusal, Token, Usage
from app.gateway import Gateway
from app.http.failure import error_headers
from app.http.headers import of_call
from app.stage import Events

SSE = "text/event-stream; charset=utf-8"
JSON = "application/json"


class CallResponse(Response):
    """Runs a call and sends what it yields. Subclasses shape it: `_run(send)`."""

    def __init__(self, gateway: Gateway, call: Call, events: Events) -> None:
        self.gateway = gateway
        self.call = call
        self.events = events
        self.model_ids = gateway.menu.model_ids
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        work = asyncio.ensure_future(self._closing(send))
        self.gateway.in_flight += 1
        work.add_done_callback(self._left)
        gone = asyncio.ensure_future(_hung_up(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
            # Shielded: a second cancellation must not leave before the events are closed.
            await asyncio.shield(asyncio.wait({work}))
        if not work.cancelled():
            work.result()

    def _left(self, _: asyncio.Task[None]) -> None:
        # As a callback: a client who asks again on receipt of its answer finds its place free.
        self.gateway.in_flight -= 1

    async def _closing(self, send: Send) -> None:
        async with aclosing(self.events):
            await self._run(send)

    async def _run(self, send: Send) -> None:
        raise NotImplementedError

    @property
    def model(self) -> str:
        """The model that answered, or what was asked for when none did."""
        return self.model_ids.get(self.call.pool or "", self.call.tier or self.call.model)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _head(send: Send, status: int, kind: str, headers: Mapping[str, str]) -> None:
    raw = [(b"content-type", kind.encode())] + [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _json(send: Send, status: int, body: Any, headers: Mapping[str, str]) -> None:
    content = orjson.dumps(body)
    await _head(send, status, JSON, {"content-length": str(len(content)), **headers})
    await send({"type": "http.response.body", "body": content})


async def _error(send: Send, error: ApiError, call: Call) -> None:
    await _json(send, error.status, error.body(), error_headers(error) | of_call(call, settled=True))


def usage_body(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def ends_call(event: Event) -> ApiError | None:
    """The error of an event that ends the whole call."""
    if isinstance(event, Failure):
        return event.error
    return event.error if isinstance(event, Refusal) and event.choice is None else None


@dataclass(slots=True)
class _Choice:
    texts: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None


class ChatAnswer(CallResponse):
    """`chat.completion`: the whole answer as one JSON object."""

    async def _run(self, send: Send) -> None:
        choices: dict[int, _Choice] = {}
        async for event in self.events:
            if error := ends_call(event):
                await self.events.aclose()
                await _error(send, error, self.call)
                return
            if isinstance(event, Token):
                choice = choices.setdefault(event.choice, _Choice())
                choice.texts.append(event.text)
                choice.logprobs.extend(event.logprobs or ())
                choice.finish_reason = event.finish_reason or choice.finish_reason
            elif isinstance(event, Refusal):
                choices.setdefault(event.choice or 0, _Choice()).finish_reason = "content_filter"
        await _json(send, 200, self._body(choices), of_call(self.call, settled=True))

    def _body(self, choices: Mapping[int, _Choice]) -> dict[str, Any]:
        return {
            "id": self.call.id,
            "object": "chat.completion",
            "created": int(self.call.created),
            "model": self.model,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": "".join(choice.texts), "refusal": None},
                    "logprobs": {"content": choice.logprobs, "refusal": None} if choice.logprobs else None,
                    "finish_reason": choice.finish_reason or "stop",
                }
                for index, choice in sorted(choices.items())
            ],
            "usage": usage_body(self.call.usage),
            "service_tier": "default",
            "system_fingerprint": f"fp_{self.call.pool or 'cache'}",
        }


class ChatStream(CallResponse):
    """`chat.completion.chunk` events. The first event of the call decides the status."""

    def __init__(self, gateway: Gateway, call: Call, events: Events, *, include_usage: bool) -> None:
        super().__init__(gateway, call, events)
        self._include_usage = include_usage
        self._opened: set[int] = set()
        self._before = b""

    async def _run(self, send: Send) -> None:
        started = False
        async for event in self.events:
            error = ends_call(event)
            if error and not started:
                await self.events.aclose()
                await _error(send, error, self.call)
                return
            if isinstance(event, Usage):
                continue
            if not started:
                await self._start(send)
                started = True
            await send({"type": "http.response.body", "body": self._chunk(event), "more_body": True})
            if error:
                break
        else:
            if not started:
                await self._start(send)
            await send({"type": "http.response.body", "body": self._end(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _start(self, send: Send) -> None:
        head = {
            "id": self.call.id,
            "object": "chat.completion.chunk",
            "created": int(self.call.created),
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": f"fp_{self.call.pool or 'cache'}",
        }
        if self._include_usage:
            head["usage"] = None
        self._before = b"data: " + orjson.dumps(head)[:-1]
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        await _head(send, 200, SSE, headers | of_call(self.call, settled=False))

    def _chunk(self, event: Event) -> bytes:
        if isinstance(event, Token):
            body = b""
            if event.choice not in self._opened:
                self._opened.add(event.choice)
                body = self._delta(event.choice, {"role": "assistant", "content": "", "refusal": None})
            if event.text or event.logprobs:
                body += self._delta(event.choice, {"content": event.text}, logprobs=event.logprobs)
            return body + (self._delta(event.choice, {}, finish=event.finish_reason) if event.finish_reason else b"")
        if isinstance(event, Refusal) and event.choice is not None:
            return self._delta(event.choice, {}, finish="content_filter")
        error = ends_call(event)
        return b"data: " + orjson.dumps(error.body()) + b"\n\n" if error else b""

    def _delta(self, index: int, delta: dict[str, Any], *, logprobs: Any = None, finish: str | None = None) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
            "finish_reason": finish,
        }
        return self._before + b',"choices":[' + orjson.dumps(choice) + b"]}\n\n"

    def _end(self) -> bytes:
        if not self._include_usage:
            return b"data: [DONE]\n\n"
        counted = usage_body(self.call.usage)
        before = self._before.removesuffix(b',"usage":null')
        return before + b',"choices":[],"usage":' + orjson.dumps(counted) + b"}\n\ndata: [DONE]\n\n"
