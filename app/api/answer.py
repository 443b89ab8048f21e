"""A call's events as an HTTP response: what every shape of it shares. routes -> CallResponse -> pipe.

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

from app.api.errors import error_headers
from app.api.headers import of_call
from app.api.openai.moderation_categories import of_call as judged
from app.core.call import Call
from app.core.errors import ApiError
from app.core.events import Event, Failure, Refusal, Token, Usage
from app.core.stage import Events
from app.pipeline.gateway import Gateway

JSON = "application/json"


class CallResponse(Response):
    """Runs a call and sends what it yields. Subclasses shape it: `_run(send)`."""

    def __init__(self, gateway: Gateway, call: Call, events: Events) -> None:
        self.gateway = gateway
        self.call = call
        self.events = events
        self.model_ids = gateway.catalog.model_ids
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
    def moderation(self) -> dict[str, Any]:
        """`{"moderation": ...}` where the caller asked for it; else nothing."""
        if not self.call.screen:
            return {}
        policy = self.gateway.policy
        return {"moderation": judged(self.call, policy.moderate.thresholds, policy.moderations.model_id)}

    @property
    def model(self) -> str:
        """The model that answered, or what was asked for when none did."""
        return self.model_ids.get(self.call.pool or "", self.call.tier or self.call.model)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_head(send: Send, status: int, kind: str, headers: Mapping[str, str]) -> None:
    """Begin the answer. kind: its content type."""
    raw = [(b"content-type", kind.encode())] + [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def send_json(send: Send, status: int, body: Any, headers: Mapping[str, str]) -> None:
    """The whole answer, as JSON."""
    content = orjson.dumps(body)
    await send_head(send, status, JSON, {"content-length": str(len(content)), **headers})
    await send({"type": "http.response.body", "body": content})


async def send_error(send: Send, error: ApiError, call: Call) -> None:
    """The whole answer, as an error of this call's."""
    await send_json(send, error.status, error.body(), error_headers(error) | of_call(call, settled=True))


def usage_body(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }


def ends_call(event: Event) -> ApiError | None:
    """The error of an event that ends the whole call."""
    if isinstance(event, Failure):
        return event.error
    return event.error if isinstance(event, Refusal) and event.choice is None else None


@dataclass(slots=True)
class Choice:
    """One choice of a whole answer, as it is put together from its Tokens."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)
    tools: dict[int, dict[str, Any]] = field(default_factory=dict)
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.texts)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The whole tool calls, as OpenAI spells them."""
        return [call for _, call in sorted(self.tools.items())]

    def add(self, token: Token) -> None:
        """Take its next Token in."""
        self.logprobs.extend(token.logprobs or ())
        self.finish_reason = token.finish_reason or self.finish_reason
        if token.reasoning:
            self.thoughts.append(token.text)
            return
        if token.tool is None:
            self.texts.append(token.text)
            return
        new = {"id": token.tool.id, "type": "function", "function": {"name": token.tool.name, "arguments": ""}}
        self.tools.setdefault(token.tool.index, new)["function"]["arguments"] += token.tool.arguments


async def collect(events: Events) -> dict[int, Choice] | ApiError:
    """The whole answer by choice, or the error that ended the call."""
    choices: dict[int, Choice] = {}
    async for event in events:
        if error := ends_call(event):
            await events.aclose()
            return error
        if isinstance(event, Token):
            choices.setdefault(event.choice, Choice()).add(event)
        elif isinstance(event, Refusal):
            choices.setdefault(event.choice or 0, Choice()).finish_reason = "content_filter"
    return choices or {0: Choice()}  # clients read the first one without looking
