"""An answer whose engine is lost in the middle is continued by another: one answer, billed once, or an honest error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.events import Failure, Message, Prompt, Refusal, Token, Usage
from app.core.ports import REPLICA_LOST, EngineError, Generation
from app.engines.resume import CANNOT_RESUME
from app.pipeline.gateway import Gateway
from app.testing.fakes import FakeEngine
from tests.kit import WHO, Kit, ask, graph, policy, run, text_of

WORDS = "one two three four five"
TOOL = {"type": "function", "function": {"name": "clock"}}


class Cut(FakeEngine):
    """Loses its first streams after so many Tokens each; later ones end well."""

    def __init__(self, answer: Any, cuts: list[int], **options: Any) -> None:
        super().__init__(answer, **options)
        self.cuts = list(cuts)

    async def _stream(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        left = self.cuts.pop(0) if self.cuts else None
        async for event in super()._stream(request):
            if left == 0:
                raise EngineError("the replica is gone", retryable=True)
            left = left - 1 if left is not None and isinstance(event, Token) else left
            yield event


class Mute(FakeEngine):
    """Cannot go on with an answer, as an upstream."""

    async def _stream(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        if request.resume:
            raise EngineError("unknown", retryable=True, code=CANNOT_RESUME)
        async for event in super()._stream(request):
            yield event


def lost(events: list[Any]) -> tuple[int, str | None]:
    assert isinstance(events[-1], Failure)
    return events[-1].error.status, events[-1].error.code


async def test_a_lost_answer_is_continued_as_one_and_billed_as_one() -> None:
    kit = Kit(engines={"a": FakeEngine(WORDS, fail="mid_stream", failures=1), "b": FakeEngine()})
    call, events = await run(kit.gateway(), ask("hi"))
    assert text_of(events) == WORDS
    assert ["stop"] == [e.finish_reason for e in events if isinstance(e, Token) and e.finish_reason]
    assert call.trail["generate"] == {"pool": "a", "attempts": 1, "recovered": 1}
    assert [("ok", 1, 5)] == [(row.outcome, row.prompt_tokens, row.completion_tokens) for row in kit.rows]


async def test_the_next_engine_is_given_what_was_said_and_the_tokens_that_are_left() -> None:
    kit = Kit(engines={"a": Cut(WORDS, [2]), "b": FakeEngine()})
    _, events = await run(kit.gateway(), ask("hi", max_tokens=4))
    first, second = kit.engines["a"].requests
    assert (first.messages, Message("assistant", "one two ")) == (second.messages[:-1], second.messages[-1])
    assert [(False, 4), (True, 2)] == [(r.resume, r.params["max_tokens"]) for r in (first, second)]
    assert text_of(events) == "one two three four "
    assert "length" == next(e.finish_reason for e in reversed(events) if isinstance(e, Token))
    assert kit.rows[0].completion_tokens == 4


async def test_when_only_the_end_was_lost_no_engine_is_asked_for_it() -> None:
    class Endless(FakeEngine):
        async def _stream(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
            yield Usage(1, 1)
            yield Token("one ")
            raise EngineError("gone", retryable=True)

    kit = Kit(engines={"a": Endless(), "b": FakeEngine()})
    _, events = await run(kit.gateway(), ask("hi", max_tokens=1))
    assert ("one ", 1) == (text_of(events), len(kit.engines["a"].requests))
    assert ["length"] == [e.finish_reason for e in events if isinstance(e, Token) and e.finish_reason]


@given(
    words=st.lists(st.text("abcdef", min_size=1, max_size=6), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 6), max_size=2),
    n=st.integers(1, 3),
)
async def test_wherever_it_is_cut_the_caller_reads_the_whole_and_pays_for_each_word_once(
    words: list[str], cuts: list[int], n: int
) -> None:
    answer = " ".join(words)
    kit = Kit(engines={"a": Cut(answer, cuts), "b": FakeEngine(answer)})
    _, events = await run(kit.gateway(generate={"recoveries": 9}), ask("hi", n=n))
    assert [answer] * n == [text_of(events, choice) for choice in range(n)]
    assert sorted(e.choice for e in events if isinstance(e, Token) and e.finish_reason) == list(range(n))
    assert [("ok", 1, n * len(words))] == [(r.outcome, r.prompt_tokens, r.completion_tokens) for r in kit.rows]


async def test_choices_that_had_ended_are_not_asked_for_again() -> None:
    kit = Kit(engines={"a": Cut(["short", WORDS], [5]), "b": FakeEngine()})
    _, events = await run(kit.gateway(), ask("hi", n=2))
    # The fake numbers its answers by choice: asked for one choice, it has the first text only.
    assert "short" == text_of(events, 0)
    assert ["one two three four "] == [m.text for r in kit.engines["a"].requests[1:] for m in r.messages[-1:]]
    assert "n" not in kit.engines["a"].requests[1].params


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("structured_outputs", {"structured_outputs": {"regex": "a+"}}),
        ("tools", {"tools": [TOOL]}),
        ("logprobs", {"logprobs": True}),
    ],
)
async def test_a_structured_answer_is_not_continued_and_the_error_says_why(name: str, params: Any) -> None:
    kit = Kit(engines={"a": Cut(WORDS, [2]), "b": FakeEngine()})
    _, events = await run(kit.gateway(), ask("hi", **params))
    assert (503, "engine_lost") == lost(events)
    assert f"`{name}`" in events[-1].error.message  # type: ignore[union-attr]
    assert len(kit.engines["a"].requests) == 1
    assert [("failed", 2)] == [(row.outcome, row.completion_tokens) for row in kit.rows]


async def test_a_structured_answer_that_had_not_begun_is_asked_for_elsewhere() -> None:
    kit = Kit(engines={"a": Cut(WORDS, [0]), "b": FakeEngine(WORDS)})
    _, events = await run(kit.gateway(), ask("hi", response_format={"type": "json_object"}))
    assert WORDS == text_of(events)


async def test_an_answer_is_continued_so_often_and_not_more() -> None:
    kit = Kit(engines={"a": FakeEngine(WORDS, fail="mid_stream"), "b": FakeEngine()})
    _, events = await run(kit.gateway(generate={"recoveries": 2}), ask("hi", model="small"))
    assert (503, "engine_lost") == lost(events)
    assert ("one two three ", 3) == (text_of(events), len(kit.engines["a"].requests))
    assert [("failed", 3, "a")] == [(row.outcome, row.completion_tokens, row.pool) for row in kit.rows]


async def test_a_pool_that_cannot_go_on_is_not_waited_for_and_does_not_count() -> None:
    kit = Kit(engines={"a": Mute(WORDS, fail="mid_stream"), "b": FakeEngine(WORDS)})
    call, events = await run(kit.gateway(generate={"recoveries": 1}), ask("hi"))
    assert (WORDS, "b", 1) == (text_of(events), call.pool, call.trail["generate"]["recovered"])


async def test_a_replacement_that_stays_silent_is_passed_over() -> None:
    class Slow(Cut):
        async def _stream(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
            if request.resume:
                await asyncio.sleep(60)
            async for event in super()._stream(request):
                yield event

    kit = Kit(engines={"a": Slow(WORDS, [1]), "b": FakeEngine(WORDS)})
    call, events = await run(kit.gateway(generate={"failover": 0.05}), ask("hi"))
    assert (WORDS, "b", 0) == (text_of(events), call.pool, kit.engines["a"].running)


async def test_a_raw_prompt_is_continued_as_one_text() -> None:
    kit = Kit(engines={"a": Cut(WORDS, [2]), "b": FakeEngine()})
    _, events = await run(kit.gateway(), Prompt((Message("user", "Count: "),), raw=True))
    assert WORDS == text_of(events)
    resumed = kit.engines["a"].requests[1]
    assert ((Message("user", "Count: one two "),), True) == (resumed.messages, resumed.raw)


async def test_what_the_moderator_still_held_back_is_not_lost() -> None:
    kit = Kit(engines={"a": Cut(WORDS, [3]), "b": FakeEngine()})
    _, events = await run(kit.gateway(moderate={"thresholds": {"toxicity": 0.5}, "delay": 30}), ask("hi"))
    assert WORDS == text_of(events)


async def test_a_batchs_call_is_marked_as_one_in_the_background() -> None:
    kit = Kit()
    gateway = kit.gateway()
    call, events = gateway.open(WHO, ask("hi"))
    call.batch = True
    async for _ in events:
        pass
    assert kit.engines["a"].requests[0].background


# -- a request that loses engines --------------------------------------------------------------------


class Dies(FakeEngine):
    """Is lost with every request that says `boom`, before its first token."""

    async def _stream(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        if "boom" in request.messages[-1].text:
            raise EngineError("the replica died", retryable=True, code=REPLICA_LOST)
        async for event in super()._stream(request):
            yield event


THREE = {
    "tiers": {
        name: {
            "min_complexity": at / 10,
            "pools": {name: 1},
            "price": {"input": "1", "cached_input": "1", "output": "1"},
        }
        for at, name in enumerate(("a", "b", "c"))
    }
}


def deadly() -> tuple[Kit, Any]:
    """Three pools, all of which `auto` may try."""
    kit = Kit(engines={name: Dies("well") for name in "abc"})
    pools = {name: {"kind": "fake", "model_id": f"model-{name}"} for name in "abc"}
    gateway = Gateway(graph(pools=pools), kit.gateway().ports)
    gateway.apply(policy(**THREE))
    return kit, gateway


def asked(kit: Kit) -> int:
    return sum(len(engine.requests) for engine in kit.engines.values())


async def test_a_request_that_loses_an_engine_is_given_to_one_other_pool_and_never_again() -> None:
    kit, gateway = deadly()
    _, events = await run(gateway, ask("boom"))
    assert ((400, "request_lost_engines"), 2) == (lost(events), asked(kit))
    gateway.apply(policy(**THREE))
    _, events = await run(gateway, ask("boom"))
    assert ((400, "request_lost_engines"), 2) == (lost(events), asked(kit))
    assert {"failed"} == {row.outcome for row in kit.rows}


async def test_other_requests_are_answered_while_one_is_refused() -> None:
    kit, gateway = deadly()
    await run(gateway, ask("boom"))
    _, events = await run(gateway, ask("no harm"))
    assert ("well", 3) == (text_of(events), asked(kit))


async def test_an_answer_clears_a_request_that_was_near_a_crash() -> None:
    kit, gateway = deadly()
    kit.engines["b"] = FakeEngine("well")
    gateway.ports.engines["b"] = kit.engines["b"]
    for _ in range(4):
        _, events = await run(gateway, ask("boom", temperature=1.5))
        assert "well" == text_of(events)


async def test_a_pool_that_is_busy_or_away_is_no_crash() -> None:
    busy = EngineError("full", retryable=True, code="overloaded")
    kit = Kit(engines={name: FakeEngine(fail="before_first", error=busy) for name in "ab"})
    gateway = kit.gateway()
    for _ in range(3):
        _, events = await run(gateway, ask("hi"))
        assert (503, "no_healthy_pool") == lost(events)


# -- before payment -----------------------------------------------------------------------------------


async def test_what_no_pool_could_hold_is_refused_before_anything_counts_or_judges_it() -> None:
    kit = Kit()
    counted: list[str] = []
    gateway = kit.gateway()
    gateway = Gateway(graph(), replace(gateway.ports, count=lambda text: counted.append(text) or 0))
    gateway.apply(policy())
    largest = max(gateway.catalog.context.values())
    _, events = await run(gateway, ask("x" * (32 * (largest + 1))))
    assert isinstance(events[0], Refusal)
    assert (400, "context_length_exceeded") == (events[0].error.status, events[0].error.code)
    assert ([], [], [], 0) == (counted, kit.scrubber.calls, kit.guard.calls, asked(kit))


async def test_much_text_is_counted_beside_the_event_loop() -> None:
    kit = Kit()
    threads: list[bool] = []

    def count(text: str) -> int:
        threads.append(threading.current_thread() is threading.main_thread())
        return 1

    gateway = Gateway(graph(), replace(kit.gateway().ports, count=count))
    gateway.apply(policy())
    for size in (10, 60_000):
        await run(gateway, ask("x" * size))
    assert [True, False] == threads
