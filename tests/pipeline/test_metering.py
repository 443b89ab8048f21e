"""What a call is billed when its engine tells too little, too much, or goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.events import Failure, Token, ToolDelta, Usage
from app.core.ports import EngineError, Generation
from app.testing.fakes import FakeEngine, FakeLedger
from tests.kit import WHO, Kit, ask, run, until

LONG = "word " * 400
OWN = 500  # what the kit counts: four bytes a token
COSTS = {"costs": {"a": {"input": "1", "cached_input": "1", "output": "1"}}}


class Scripted:
    """An engine that yields what it is given; an exception among it is raised, a number is seconds to wait."""

    def __init__(self, *script: Any) -> None:
        self.script = script

    async def generate(self, _: Generation) -> AsyncGenerator[Token | Usage, None]:
        for one in self.script:
            if isinstance(one, Exception):
                raise one
            if isinstance(one, float):
                await asyncio.sleep(one)
            else:
                yield one

    async def ready(self) -> bool:
        return True


def kit(*script: Any) -> Kit:
    return Kit(engines={"a": Scripted(*script), "b": Scripted(*script)})  # type: ignore[dict-item]


def died(*, worked: bool = True) -> EngineError:
    error = EngineError("gone", retryable=True)
    error.worked = worked
    return error


async def billed(world: Kit, **policy: Any) -> Any:
    await run(world.gateway(**policy), ask(LONG, model="small"))
    (row,) = world.rows
    return row


async def test_an_engine_that_tells_nothing_is_billed_by_our_own_count() -> None:
    row = await billed(kit(*[Token("word ")] * 40, Token("", finish_reason="stop")))
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (OWN, 40, True)
    assert row.cost > 0


async def test_an_answer_in_one_piece_is_counted_as_text() -> None:
    row = await billed(kit(Token("word " * 40, finish_reason="stop")))
    assert row.completion_tokens == 50


async def test_what_is_told_is_billed_and_not_estimated() -> None:
    row = await billed(kit(Usage(123, 45), Token("hi", finish_reason="stop"), Usage(321, 54)))
    assert (row.prompt_tokens, row.completion_tokens, row.estimated, row.cut) == (321, 54, False, False)


async def test_more_than_was_asked_for_is_cut_and_the_row_says_so() -> None:
    row = await billed(kit(Token("hi", finish_reason="stop"), Usage(10**12, 10**12)))
    assert row.cut
    assert row.prompt_tokens <= 8192
    assert row.completion_tokens <= 1024


async def test_what_the_upstream_bills_us_is_not_cut_with_what_we_bill() -> None:
    world = kit(Token("hi", finish_reason="stop"), Usage(8000, 1))
    world.ledger = FakeLedger({"acme": Decimal(1)})
    call, _ = await run(world.gateway(**COSTS), ask("hi", model="small", max_tokens=1))
    (row,) = world.rows
    assert row.cost <= Decimal("0.0001")
    assert row.goods > row.cost
    assert call.usage.prompt == row.prompt_tokens < 8000


async def test_who_hangs_up_before_the_first_token_pays_the_prompt_that_the_engine_was_given() -> None:
    world = kit(30.0, Token("late"))
    task = asyncio.create_task(run(world.gateway(), ask(LONG, model="small")))
    await until(lambda: world.ledger.held)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait({task})
    await until(lambda: world.rows)
    (row,) = world.rows
    assert (row.outcome, row.prompt_tokens, row.completion_tokens, row.estimated) == ("hangup", OWN, 0, True)
    assert row.cost > 0


async def test_who_hangs_up_in_the_middle_pays_for_what_came() -> None:
    world = kit(*[Token("word ")] * 400)
    _, events = world.gateway().open(WHO, ask(LONG, model="small"))
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Token):
                break
    (row,) = world.rows
    assert (row.prompt_tokens, row.estimated) == (OWN, True)
    assert 0 < row.completion_tokens < 400


async def test_pools_that_fail_before_the_first_token_cost_the_caller_nothing_and_us_something() -> None:
    row = await billed(kit(died()), **COSTS)
    assert (row.outcome, row.prompt_tokens, row.cost, row.goods) == ("failed", 0, 0, 0)
    assert row.lost > 0


async def test_a_pool_that_was_never_reached_costs_nobody_anything() -> None:
    row = await billed(kit(died(worked=False)), **COSTS)
    assert (row.cost, row.goods, row.lost) == (0, 0, 0)


async def test_an_answer_that_never_reached_the_caller_is_free() -> None:
    world = kit(Token("word "), died())
    _, events = await run(world.gateway(generate={"recoveries": 0}), ask(LONG, model="small"))
    (row,) = world.rows
    assert isinstance(events[-1], Failure)
    assert (row.outcome, row.prompt_tokens, row.cost) == ("failed", OWN, 0)


async def test_what_a_stream_has_sent_is_paid_though_it_failed() -> None:
    world = kit(Token("word "), died())
    call, events = world.gateway(generate={"recoveries": 0}).open(WHO, ask(LONG, model="small"))
    call.streamed = True
    assert [event async for event in events]
    assert world.rows[0].outcome == "failed"
    assert world.rows[0].cost > 0


@pytest.mark.parametrize("said", [(), (Usage(9, 0),), (Usage(9, 1),)])
async def test_an_empty_answer_is_free(said: tuple[Usage, ...]) -> None:
    row = await billed(kit(*said, Token("", finish_reason="stop")))
    assert (row.outcome, row.cost) == ("ok", 0)


@pytest.mark.parametrize(
    "said",
    [Token("", tool=ToolDelta(0, "", "c0", "f")), Token("hm", kind="reasoning"), Token("", finish_reason="length")],
)
async def test_an_answer_that_is_no_text_is_not_empty(said: Token) -> None:
    row = await billed(kit(said, Token("", finish_reason=said.finish_reason or "stop"), Usage(9, 9)))
    assert row.cost > 0


async def test_a_lost_engines_reading_is_lost_on_us_and_paid_once_by_the_caller() -> None:
    world = Kit(engines={"a": FakeEngine("one two three four", fail="mid_stream", failures=1), "b": FakeEngine()})
    await run(world.gateway(**COSTS), ask("hi", model="small"))
    (row,) = world.rows
    assert (row.outcome, row.prompt_tokens) == ("ok", 1)
    assert row.lost == Decimal("0.000001")


counts = st.integers(-10, 10**13)
pieces = (
    st.builds(Token, st.text(max_size=40))
    | st.builds(Token, st.just("a"), finish_reason=st.sampled_from(["stop", "length"]))
    | st.builds(Usage, counts, counts, counts, counts, st.booleans())
    | st.builds(died)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pieces, max_size=8))
def test_whatever_an_engine_does_a_call_is_one_row_within_its_reservation(script: list[Any]) -> None:
    async def body() -> None:
        world = kit(*script)
        world.ledger = FakeLedger({"acme": Decimal(1)})
        call, _ = await run(world.gateway(), ask("hi there", model="small", max_tokens=20))
        (row,) = world.rows
        assert call.reservation is not None
        assert 0 <= row.cost <= call.reservation.cost
        assert 0 <= row.cached_tokens <= row.prompt_tokens <= 8192
        assert 0 <= row.completion_tokens <= 20
        assert world.ledger.balances["acme"] == 1 - row.cost

    asyncio.run(body())
