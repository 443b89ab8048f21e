"""The fake engine: what tests of the pipe rely on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.adapters.fakes import FakeEngine
from app.events import Message, Token, Usage
from app.ports import EngineError, Generation


def ask(text: str = "one two", **params: Any) -> Generation:
    return Generation("call-1", (Message("system", "be brief"), Message("user", text)), params)


async def stream(engine: FakeEngine, request: Generation) -> list[Token | Usage]:
    return [event async for event in engine.generate(request)]


def said(events: list[Token | Usage], choice: int = 0) -> str:
    return "".join(e.text for e in events if isinstance(e, Token) and e.choice == choice)


async def test_it_echoes_the_last_user_message_word_by_word_and_counts() -> None:
    events = await stream(FakeEngine(), ask())
    assert [e.text for e in events if isinstance(e, Token)] == ["You ", "said: ", "one ", "two"]
    assert events[-1] == Usage(prompt=4, completion=4)


@pytest.mark.parametrize("answer", ["", " a  b\n\nc ", "word", "one\ttwo "])
async def test_the_tokens_joined_are_the_answer(answer: str) -> None:
    assert said(await stream(FakeEngine(answer), ask())) == answer


@pytest.mark.parametrize(
    ("params", "text", "reason"),
    [
        ({}, "a b c d", "stop"),
        ({"max_tokens": 2}, "a b ", "length"),
        ({"max_completion_tokens": 4}, "a b c d", "stop"),
        ({"stop": "c"}, "a b ", "stop"),
        ({"stop": ["d", " b"]}, "a", "stop"),
    ],
)
async def test_stop_and_max_tokens_end_the_answer_with_their_reason(params: Any, text: str, reason: str) -> None:
    events = await stream(FakeEngine("a b c d"), ask(**params))
    assert said(events) == text
    assert [e.finish_reason for e in events if isinstance(e, Token)][-1] == reason


async def test_n_choices_come_interleaved_and_are_all_counted() -> None:
    events = await stream(FakeEngine("a b"), ask(n=2))
    assert [e.choice for e in events if isinstance(e, Token)] == [0, 1, 0, 1]
    assert events[-1] == Usage(prompt=4, completion=4)


async def test_closing_the_stream_is_an_abort_and_nothing_runs_on() -> None:
    engine = FakeEngine()
    events = engine.generate(ask())
    await anext(events)
    assert engine.running == 1
    await events.aclose()
    assert (engine.running, engine.aborts, engine.finished) == (0, ["call-1"], [])


async def test_a_cancelled_reader_is_an_abort() -> None:
    engine = FakeEngine(tokens_per_second=1)
    reader = asyncio.create_task(stream(engine, ask()))
    await asyncio.sleep(0.01)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    assert (engine.running, engine.aborts) == (0, ["call-1"])


@pytest.mark.parametrize(("fail", "tokens"), [("before_first", 0), ("mid_stream", 1)])
async def test_it_fails_when_told_to_with_an_error_another_pool_may_mend(fail: Any, tokens: int) -> None:
    engine, seen = FakeEngine(fail=fail), []

    async def read() -> None:
        async for event in engine.generate(ask()):
            seen.append(event)  # noqa: PERF401  a comprehension would lose them with the error

    with pytest.raises(EngineError) as raised:
        await read()
    assert raised.value.retryable
    assert sum(isinstance(e, Token) for e in seen) == tokens
    assert (engine.running, engine.aborts, engine.finished) == (0, [], [])


async def test_a_prompt_longer_than_the_context_is_the_requests_fault() -> None:
    with pytest.raises(EngineError) as raised:
        await stream(FakeEngine(context=3), ask())
    assert (raised.value.retryable, raised.value.code) == (False, "context_length_exceeded")
