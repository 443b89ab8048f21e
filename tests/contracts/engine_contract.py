"""What every Engine does, whatever stands behind it. A subclass gives `world`: an engine over a known one.

Behind each of them stands a FakeEngine, so that what it was asked, and whether it still runs, can be seen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from app.core.events import Message, Token, Usage
from app.core.ports import Engine, EngineError, Generation

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
CALL = ("weather", '{"city": "Paris"}')
ANSWER = "one two three four five six"
SLOW = 50.0
"""Words a second of an engine that can be left while it answers."""
LONGEST = 50
"""Words of a prompt that fits."""
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"answer": ANSWER, "context": LONGEST},
    "choices": {"answer": ["yes indeed", "no never at all"]},
    "tools": {"tools": [CALL, ("weather", "{}")]},
    "endless": {"answer": "word " * 5_000, "tokens_per_second": SLOW},
    "broken": {"answer": ANSWER, "fail": "mid_stream"},
    "busy": {"answer": ANSWER, "fail": "before_first"},
}
"""How the FakeEngine behind the one under test is set up."""
numbers = count()


@dataclass
class World:
    """An engine, and what is seen of the one behind it. gone: the same engine once nothing stands behind it."""

    engine: Engine
    running: Callable[[], Awaitable[int]]
    aborts: Callable[[], Awaitable[int]]
    gone: Engine


Make = Callable[[str], Awaitable[World]]


def ask(text: str = "hello there", **params: Any) -> Generation:
    return Generation(f"call-{next(numbers)}", (Message("user", text),), params)


async def collect(engine: Engine, request: Generation) -> list[Token | Usage]:
    async with asyncio.timeout(30), aclosing(engine.generate(request)) as events:
        return [event async for event in events]


async def failure(engine: Engine, request: Generation) -> tuple[EngineError, list[Token]]:
    """The error, and what was said before it."""
    said: list[Token] = []

    async def read() -> None:
        async with asyncio.timeout(30), aclosing(engine.generate(request)) as events:
            async for event in events:
                said.extend([event] if isinstance(event, Token) else ())

    with pytest.raises(EngineError) as caught:
        await read()
    return caught.value, said


def tokens(events: list[Token | Usage], choice: int = 0) -> list[Token]:
    return [event for event in events if isinstance(event, Token) and event.choice == choice]


def text(events: list[Token | Usage], choice: int = 0) -> str:
    return "".join(token.text for token in tokens(events, choice))


async def settled(look: Callable[[], Awaitable[int]], expected: int) -> int:
    """What `look` finds, once it is as expected or half a minute has passed."""
    for _ in range(600):
        if await look() == expected:
            break
        await asyncio.sleep(0.05)
    return await look()


class EngineContract:
    """The tests. `make(name)` sets up the engine behind as SETTINGS says."""

    async def test_an_answer_comes_in_pieces_and_its_usage_last(self, make: Make) -> None:
        events = await collect((await make("plain")).engine, ask())
        assert ANSWER == text(events)
        assert len([token for token in tokens(events) if token.text]) > 1
        assert Usage(2, 6, 0) == events[-1]

    async def test_a_piece_is_counted_before_it_is_seen(self, make: Make) -> None:
        counted = seen = 0
        for event in await collect((await make("plain")).engine, ask()):
            if isinstance(event, Usage):
                counted = event.completion
            else:
                seen += bool(event.said)
            assert counted >= seen

    async def test_only_the_last_piece_of_a_choice_says_why_it_ended(self, make: Make) -> None:
        said = tokens(await collect((await make("plain")).engine, ask()))
        assert ["stop"] == [token.finish_reason for token in said if token.finish_reason]
        assert "stop" == said[-1].finish_reason

    async def test_an_answer_that_reaches_its_limit_says_so(self, make: Make) -> None:
        events = await collect((await make("plain")).engine, ask(max_tokens=2))
        assert ("one two", "length") == (text(events).strip(), tokens(events)[-1].finish_reason)
        assert Usage(2, 2, 0) == events[-1]

    async def test_an_answer_ends_before_a_stop_sequence(self, make: Make) -> None:
        events = await collect((await make("plain")).engine, ask(stop=["four"]))
        assert ("one two three", "stop") == (text(events).strip(), tokens(events)[-1].finish_reason)

    async def test_every_choice_streams_ends_and_is_counted(self, make: Make) -> None:
        events = await collect((await make("choices")).engine, ask(n=2))
        assert ["yes indeed", "no never at all"] == [text(events, choice) for choice in (0, 1)]
        assert ["stop", "stop"] == [tokens(events, choice)[-1].finish_reason for choice in (0, 1)]
        assert Usage(2, 6, 0) == events[-1]

    async def test_logprobs_come_with_their_piece(self, make: Make) -> None:
        said = tokens(await collect((await make("plain")).engine, ask(logprobs=True)))
        for token in said:
            entries = token.logprobs or ()
            assert token.text == "".join(entry["token"] for entry in entries)
            assert all({"token", "logprob", "bytes", "top_logprobs"} <= entry.keys() for entry in entries)

    async def test_no_logprobs_come_unasked(self, make: Make) -> None:
        assert not any(token.logprobs for token in tokens(await collect((await make("plain")).engine, ask())))

    async def test_a_tool_call_names_its_tool_first_and_ends_as_one(self, make: Make) -> None:
        said = tokens(await collect((await make("tools")).engine, ask(tools=TOOLS, tool_choice="required")))
        calls: dict[int, list[Token]] = {}
        for token in said:
            if token.tool is not None:
                calls.setdefault(token.tool.index, []).append(token)
        firsts = [pieces[0].tool for _, pieces in sorted(calls.items())]
        assert ["weather", "weather"] == [first.name for first in firsts if first]
        assert 2 == len({first.id for first in firsts if first and first.id})
        assert [{"city": "Paris"}, {}] == [
            json.loads("".join(token.said for token in pieces)) for _, pieces in sorted(calls.items())
        ]
        assert "" == "".join(token.text for token in said)
        assert ["tool_calls"] == [token.finish_reason for token in said if token.finish_reason]

    async def test_closing_the_stream_stops_the_engine(self, make: Make) -> None:
        world = await make("endless")
        async with aclosing(world.engine.generate(ask())) as stream:
            async for event in stream:
                if isinstance(event, Token):
                    break
            assert 1 == await world.running()
        assert 0 == await settled(world.running, 0)
        assert 1 == await settled(world.aborts, 1)

    async def test_cancelling_the_reader_stops_the_engine(self, make: Make) -> None:
        world = await make("endless")
        begun = asyncio.Event()

        async def read() -> None:
            async with aclosing(world.engine.generate(ask())) as stream:
                async for _ in stream:
                    begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == await settled(world.running, 0)
        assert 1 == await settled(world.aborts, 1)

    async def test_a_prompt_too_long_is_the_callers_fault(self, make: Make) -> None:
        error, said = await failure((await make("plain")).engine, ask("word " * (LONGEST + 1)))
        assert (False, "context_length_exceeded", []) == (error.retryable, error.code, said)

    async def test_an_engine_that_fails_before_it_speaks_may_be_replaced(self, make: Make) -> None:
        error, said = await failure((await make("busy")).engine, ask())
        assert (True, []) == (error.retryable, said)

    async def test_an_engine_that_breaks_says_so_after_what_it_said(self, make: Make) -> None:
        error, said = await failure((await make("broken")).engine, ask())
        assert (True, "one") == (error.retryable, "".join(token.text for token in said).strip())

    async def test_an_engine_that_is_gone_may_be_replaced_and_is_not_ready(self, make: Make) -> None:
        gone = (await make("plain")).gone
        error, said = await failure(gone, ask())
        assert (True, []) == (error.retryable, said)
        assert not await gone.ready()

    async def test_an_engine_that_answers_is_ready(self, make: Make) -> None:
        assert await (await make("plain")).engine.ready()
