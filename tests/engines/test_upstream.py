"""Any OpenAI-compatible API is an Engine: against a tiny real server on a free port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.core.events import Message, Token, Usage
from app.core.ports import EngineError, Generation
from app.engines.resume import CANNOT_RESUME
from app.engines.upstream import UpstreamEngine

Answer = Callable[[dict[str, Any]], Response]


class Upstream:
    """What the server was asked, what it answers, and which of its streams were left early."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.ports: set[int] = set()
        self.left = asyncio.Event()
        self.answer: Answer = lambda _: self.stream(_words())
        self.url = ""

    async def chat(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        self.paths.append(request.url.path)
        self.headers.append(dict(request.headers))
        self.ports.add(request.client.port if request.client else 0)
        return self.answer(self.bodies[-1])

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": []})

    def stream(self, events: AsyncGenerator[str, None]) -> Response:
        async def watched() -> AsyncIterator[str]:
            try:
                async for event in events:
                    yield event
            except asyncio.CancelledError:
                self.left.set()
                raise

        return StreamingResponse(watched(), media_type="text/event-stream")


async def _words(count: int = 3, pause: float = 0.0, *, end: bool = True) -> AsyncGenerator[str, None]:
    yield ": keep-alive\n\n"
    for index in range(count):
        await asyncio.sleep(pause)
        yield _sse({"choices": [{"index": 0, "delta": {"content": f"w{index} "}}], "usage": None})
    if end:
        yield _sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})
        yield _sse({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": count + 1}})
        yield "data: [DONE]\n\n"


def _sse(payload: object) -> str:
    return f"data: {json.dumps(payload)}\n\n"


def _refuse(status: int, message: str, param: str | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": "x", "param": param, "code": None}}, status)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    fake = Upstream()
    asked = [Route(path, fake.chat, methods=["POST"]) for path in ("/v1/chat/completions", "/v1/completions")]
    routes = [*asked, Route("/v1/models", fake.models)]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/"
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield fake
    server.should_exit = True
    await task


@pytest.fixture
async def engine(upstream: Upstream) -> AsyncIterator[UpstreamEngine]:
    engine = UpstreamEngine(upstream.url, "their-model", timeout=2.0)
    yield engine
    await engine.close()


def ask(**params: Any) -> Generation:
    return Generation("call-1", (Message("user", "hello", {"name": "ann"}),), params)


async def collect(engine: UpstreamEngine, request: Generation | None = None) -> list[Token | Usage]:
    return [event async for event in engine.generate(request or ask())]


async def failure(engine: UpstreamEngine, request: Generation | None = None) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await collect(engine, request)
    return caught.value


async def test_it_streams_tokens_and_ends_with_the_upstreams_count(engine: UpstreamEngine) -> None:
    events = await collect(engine)
    assert "".join(e.text for e in events if isinstance(e, Token)) == "w0 w1 w2 "
    assert events[-1] == Usage(7, 4, 0)


async def test_it_sends_the_upstreams_model_and_only_what_was_set(engine: UpstreamEngine, upstream: Upstream) -> None:
    await collect(engine, ask(temperature=0.5, seed=None, max_tokens=9))
    assert upstream.bodies[0] == {
        "model": "their-model",
        "messages": [{"role": "user", "content": "hello", "name": "ann"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    assert upstream.headers[0]["x-request-id"] == "call-1"


async def test_the_key_is_read_from_the_environment_at_each_call(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = UpstreamEngine(upstream.url, "m", key_env="UPSTREAM_TEST_KEY")
    monkeypatch.setenv("UPSTREAM_TEST_KEY", "first")
    await collect(engine)
    monkeypatch.setenv("UPSTREAM_TEST_KEY", "second")
    await collect(engine)
    await engine.close()
    assert [h["authorization"] for h in upstream.headers] == ["Bearer first", "Bearer second"]


async def test_one_connection_serves_calls_one_after_the_other(engine: UpstreamEngine, upstream: Upstream) -> None:
    for _ in range(3):
        await collect(engine)
    assert len(upstream.ports) == 1


async def test_closing_the_stream_closes_the_connection(engine: UpstreamEngine, upstream: Upstream) -> None:
    upstream.answer = lambda _: upstream.stream(_words(1000, 0.01))
    async with aclosing(engine.generate(ask())) as stream:
        async for event in stream:
            if isinstance(event, Token):
                break
    await asyncio.wait_for(upstream.left.wait(), 2)


async def test_a_hang_up_can_be_billed_without_continuous_usage(engine: UpstreamEngine, upstream: Upstream) -> None:
    upstream.answer = lambda _: upstream.stream(_words(1000, 0.001))
    seen = Usage()
    async with aclosing(engine.generate(ask())) as stream:
        async for event in stream:
            if isinstance(event, Usage):
                seen = event
            elif event.text == "w4 ":
                break
    assert seen.completion == 5


async def test_an_upstream_that_refuses_the_extension_is_asked_without_it(
    engine: UpstreamEngine, upstream: Upstream
) -> None:
    def strict(body: dict[str, Any]) -> Response:
        if "continuous_usage_stats" in body["stream_options"]:
            param = "stream_options.continuous_usage_stats"
            return _refuse(400, f"Unknown parameter: '{param}'.", param)
        return upstream.stream(_words())

    upstream.answer = strict
    for _ in range(2):
        assert (await collect(engine))[-1] == Usage(7, 4, 0)
    assert len(upstream.bodies) == 3


async def test_an_upstream_without_stream_options_is_counted_by_pieces(
    engine: UpstreamEngine, upstream: Upstream
) -> None:
    async def bare() -> AsyncGenerator[str, None]:
        async for event in _words(2, end=False):
            yield event
        yield _sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})

    def old(body: dict[str, Any]) -> Response:
        return _refuse(422, "stream_options: unknown field") if "stream_options" in body else upstream.stream(bare())

    upstream.answer = old
    assert (await collect(engine))[-1] == Usage(0, 2, 0)


async def test_an_upstream_that_renamed_max_tokens_is_asked_by_the_new_name(
    engine: UpstreamEngine, upstream: Upstream
) -> None:
    def renamed(body: dict[str, Any]) -> Response:
        if "max_tokens" in body:
            return _refuse(400, "'max_tokens' is not supported: use 'max_completion_tokens' instead.", "max_tokens")
        return upstream.stream(_words())

    upstream.answer = renamed
    await collect(engine, ask(max_tokens=9))
    assert upstream.bodies[-1]["max_completion_tokens"] == 9


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_another_pool_may_do_better(engine: UpstreamEngine, upstream: Upstream, status: int) -> None:
    upstream.answer = lambda _: _refuse(status, "not now")
    assert (await failure(engine)).retryable


async def test_a_bad_request_is_the_callers_fault(engine: UpstreamEngine, upstream: Upstream) -> None:
    upstream.answer = lambda _: _refuse(400, "temperature is too high", "temperature")
    error = await failure(engine)
    assert (error.retryable, error.param, error.message) == (False, "temperature", "temperature is too high")


async def test_a_prompt_too_long_is_named(engine: UpstreamEngine, upstream: Upstream) -> None:
    upstream.answer = lambda _: _refuse(400, "This model's maximum context length is 10 tokens.")
    error = await failure(engine)
    assert (error.retryable, error.code) == (False, "context_length_exceeded")


async def test_a_proxys_page_is_not_quoted(engine: UpstreamEngine, upstream: Upstream) -> None:
    upstream.answer = lambda _: Response("<html>nginx at 10.0.0.7</html>", 502)
    error = await failure(engine)
    assert error.retryable
    assert "nginx" not in error.message


async def test_an_answer_cut_short_is_an_error(engine: UpstreamEngine, upstream: Upstream) -> None:
    upstream.answer = lambda _: upstream.stream(_words(2, end=False))
    assert (await failure(engine)).retryable


async def test_silence_ends_at_the_timeout(upstream: Upstream) -> None:
    upstream.answer = lambda _: upstream.stream(_words(2, pause=30))
    engine = UpstreamEngine(upstream.url, "m", timeout=0.2)
    assert (await failure(engine)).retryable
    await engine.close()


async def test_nobody_there_is_retryable_and_not_ready() -> None:
    engine = UpstreamEngine("http://127.0.0.1:9/v1", "m", timeout=1.0)
    error = await failure(engine)
    assert error.retryable
    assert "127.0.0.1" not in error.message
    assert not await engine.ready()
    await engine.close()


async def test_an_upstream_that_answers_is_ready(engine: UpstreamEngine) -> None:
    assert await engine.ready()


async def test_a_raw_prompt_goes_to_the_completions_api_and_its_logprobs_come_back_as_chats(
    engine: UpstreamEngine, upstream: Upstream
) -> None:
    logprobs = {"tokens": [" a"], "token_logprobs": [-0.1], "top_logprobs": [{" a": -0.1, " b": -2.0}]}

    async def text() -> AsyncGenerator[str, None]:
        yield _sse({"choices": [{"index": 0, "text": " a", "logprobs": logprobs, "finish_reason": None}]})
        yield _sse({"choices": [{"index": 0, "text": " b", "logprobs": None, "finish_reason": "length"}]})
        yield "data: [DONE]\n\n"

    upstream.answer = lambda _: upstream.stream(text())
    events = await collect(engine, replace(ask(max_tokens=2, logprobs=True, top_logprobs=2), raw=True))
    tokens = [e for e in events if isinstance(e, Token)]
    assert "/v1/completions" == upstream.paths[0]
    assert ("hello", 2) == (upstream.bodies[0]["prompt"], upstream.bodies[0]["logprobs"])
    assert not {"messages", "top_logprobs"} & upstream.bodies[0].keys()
    assert [" a", " b"] == [token.text for token in tokens]
    (entry,) = tokens[0].logprobs or ()
    assert {"token": " a", "logprob": -0.1, "bytes": [32, 97]} == {k: entry[k] for k in ("token", "logprob", "bytes")}
    assert [" a", " b"] == [other["token"] for other in entry["top_logprobs"]]


async def test_it_says_without_asking_that_it_cannot_go_on_with_an_answer(
    engine: UpstreamEngine, upstream: Upstream
) -> None:
    error = await failure(engine, replace(ask(), resume=True))
    assert (True, CANNOT_RESUME) == (error.retryable, error.code)
    assert upstream.bodies == []


async def test_a_raw_answer_is_gone_on_with_as_any_other_text(engine: UpstreamEngine, upstream: Upstream) -> None:
    await collect(engine, replace(ask(), raw=True, resume=True))
    assert "hello" == upstream.bodies[0]["prompt"]


async def test_several_greedy_answers_are_asked_for_as_vllm_takes_them_once_it_has_refused_them(
    engine: UpstreamEngine, upstream: Upstream
) -> None:
    def answer(body: dict[str, Any]) -> Response:
        if body["temperature"] == 0:
            return _refuse(400, "n must be 1 when using greedy sampling, got 2.")
        return upstream.stream(_words())

    upstream.answer = answer
    for _ in range(2):
        await collect(engine, ask(n=2, temperature=0, max_tokens=9))
    assert [(0, None), (1.0, 1), (1.0, 1)] == [(one["temperature"], one.get("top_k")) for one in upstream.bodies]


@pytest.mark.parametrize("name", ["top_k", "structured_outputs", "chat_template_kwargs"])
async def test_an_upstream_without_vllms_parameters_is_not_sent_one_and_says_so(upstream: Upstream, name: str) -> None:
    engine = UpstreamEngine(upstream.url, "their-model", timeout=2.0, extensions=False)
    with pytest.raises(EngineError, match=name) as refused:
        await collect(engine, ask(**{name: 1}))
    await engine.close()
    assert (False, name) == (refused.value.retryable, refused.value.param)
    assert [] == upstream.bodies
