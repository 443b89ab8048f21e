"""The fake engine: what tests of the pipe rely on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.core.events import Message, Token, Usage
from app.core.ports import EngineError, Generation
from app.testing.fakes import FakeEngine
from tests.kit import until


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
    await until(lambda: engine.running == 1)
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


@pytest.mark.parametrize(("given", "rest"), [("one ", "two three"), ("one two three", ""), ("other", "one two three")])
async def test_it_goes_on_with_its_known_answer_after_what_was_given(given: str, rest: str) -> None:
    request = replace(ask(), resume=True, messages=(Message("user", "hi"), Message("assistant", given)))
    assert rest == said(await stream(FakeEngine("one two three"), request))


async def test_a_raw_prompt_that_ends_like_the_answer_begins_is_only_cut_when_it_is_resumed() -> None:
    raw = Generation("call-1", (Message("user", "Say one "),), {}, raw=True)
    assert "one two" == said(await stream(FakeEngine("one two"), raw))
    assert "two" == said(await stream(FakeEngine("one two"), replace(raw, resume=True)))


async def test_tools_are_called_in_pieces_unless_the_request_forbids_it() -> None:
    engine = FakeEngine("no tools", tools=[("weather", '{"city": "Paris"}'), ("clock", "{}")])
    events = await stream(engine, ask(tools=[{}], n=2))
    pieces = [e.tool for e in events if isinstance(e, Token) and e.choice == 1 and e.tool]
    assert [(0, "weather"), (1, "clock")] == [(piece.index, piece.name) for piece in pieces if piece.id]
    assert '{"city": "Paris"}' == "".join(piece.arguments for piece in pieces if piece.index == 0)
    assert ["tool_calls"] * 2 == [e.finish_reason for e in events if isinstance(e, Token) and e.finish_reason]
    for params in ({}, {"tools": [{}], "tool_choice": "none"}):
        assert "no tools" == said(await stream(engine, ask(**params)))


async def test_only_so_many_requests_fail() -> None:
    engine = FakeEngine("one two", fail="mid_stream", failures=1)
    with pytest.raises(EngineError):
        await stream(engine, ask())
    assert "one two" == said(await stream(engine, ask()))
