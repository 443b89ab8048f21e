"""The Engine port: the fake, and any OpenAI-compatible API over HTTP, behave alike. A pool on Ray: tests/ray/."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.core.events import Message, Token, Usage
from app.core.ports import EngineError, Generation
from app.engines.upstream import UpstreamEngine
from app.testing.fakes import FakeEngine
from tests.contracts.engine_contract import SETTINGS, EngineContract, Make, World


class TestFakeEngine(EngineContract):
    @pytest.fixture
    def make(self) -> Make:
        async def made(name: str) -> World:
            engine = FakeEngine(**SETTINGS[name])
            gone = FakeEngine(fail="before_first", healthy=False)
            return World(engine, _running(engine), _aborts(engine), gone)

        return made


class TestUpstreamEngine(EngineContract):
    @pytest.fixture
    async def make(self) -> AsyncIterator[Make]:
        async with contextlib.AsyncExitStack() as stack:

            async def made(name: str) -> World:
                behind = FakeEngine(**SETTINGS[name])
                url = await stack.enter_async_context(api_of(behind))
                engine, gone = UpstreamEngine(url, "m", timeout=10.0), UpstreamEngine(f"{_unused()}/v1", "m")
                for one in (engine, gone):
                    stack.push_async_callback(one.close)
                return World(engine, _running(behind), _aborts(behind), gone)

            yield made


def _running(engine: FakeEngine) -> Any:
    async def look() -> int:
        return engine.running

    return look


def _aborts(engine: FakeEngine) -> Any:
    async def look() -> int:
        return len(engine.aborts)

    return look


# -- an OpenAI-compatible API over an engine, as OpenAI documents it ----------------------------------


def _unused() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@contextlib.asynccontextmanager
async def api_of(engine: FakeEngine) -> AsyncIterator[str]:
    """The engine behind `/v1/chat/completions` on a free port; yields the base URL."""

    async def chat(request: Request) -> Response:
        body = await request.json()
        messages = tuple(Message(one["role"], one["content"]) for one in body["messages"])
        events = engine.generate(Generation(request.headers["x-request-id"], messages, body))
        try:
            first = await anext(events)
        except EngineError as error:
            said = {"message": error.message, "type": "server_error", "param": error.param, "code": error.code}
            return JSONResponse({"error": said}, 503 if error.retryable else 400)

        async def stream() -> AsyncIterator[str]:
            async with aclosing(events):
                try:
                    yield _chunk(first)
                    async for event in events:
                        yield _chunk(event)
                except EngineError as error:
                    said = {"message": error.message, "type": "InternalServerError"}
                    yield f"data: {json.dumps({'error': said})}\n\n"
                    return
            yield "data: [DONE]\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": []})

    routes = [Route("/v1/chat/completions", chat, methods=["POST"]), Route("/v1/models", models)]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    await task


def _chunk(event: Token | Usage) -> str:
    """One chunk. Usage has no choices, so its counts are of the whole answer."""
    if isinstance(event, Usage):
        counts = {"prompt_tokens": event.prompt, "completion_tokens": event.completion}
        return f"data: {json.dumps({'choices': [], 'usage': counts})}\n\n"
    delta: dict[str, Any] = {"content": event.text}
    if tool := event.tool:
        function = {"arguments": tool.arguments, **({"name": tool.name} if tool.name else {})}
        delta = {"tool_calls": [{"index": tool.index, **({"id": tool.id} if tool.id else {}), "function": function}]}
    choice = {"index": event.choice, "delta": delta, "finish_reason": event.finish_reason}
    if event.logprobs:
        choice["logprobs"] = {"content": list(event.logprobs)}
    return f"data: {json.dumps({'choices': [choice], 'usage': None})}\n\n"
