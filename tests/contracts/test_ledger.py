"""The Ledger port: the fake, SQLite and a real PostgreSQL behave alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest

from app.core.ports import AbusePolicy, Denied, Reservation
from app.core.terms import Terms
from tests.contracts.ledger_kit import MIDNIGHT, World, world_of

ONE, TWO = Decimal(1), Decimal(2)


@pytest.fixture(params=["fake", "sqlite", "postgres"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    url = "" if request.param == "fake" else request.getfixturevalue(f"{request.param}_url")
    async with world_of(request.param, url) as made:
        yield made


async def test_a_caller_without_limits_or_budget_is_never_denied_and_sees_no_window(world: World) -> None:
    who = await world.caller()
    assert (await world.reserved(who, "a", tokens=10**9, cost="1000000")).windows == {}


async def test_a_reservation_keeps_what_was_asked(world: World) -> None:
    kept = await world.reserved(await world.caller(), "a", tokens=7, cost="0.000000001")
    assert ("a", Decimal("1e-9"), 7) == (kept.id, kept.cost, kept.tokens)


# -- limits ----------------------------------------------------------------------------------------


async def test_windows_show_the_limit_what_is_left_and_when_it_is_full_again(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=60, tokens_per_minute=600))
    windows = (await world.reserved(who, "a", tokens=100)).windows
    assert (windows["requests"].limit, windows["requests"].remaining, windows["requests"].reset) == (60, 59, 1.0)
    assert (windows["tokens"].limit, windows["tokens"].remaining, windows["tokens"].reset) == (600, 500, 10.0)


async def test_the_request_after_the_last_allowed_one_is_denied_until_the_wait_it_names(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=2))
    await world.reserved(who, "a")
    await world.reserved(who, "b")
    no = await world.denied(who, "c")
    assert no.reason == "requests"
    assert no.retry_after == pytest.approx(30, abs=0.01)
    world.clock.now += no.retry_after
    await world.reserved(who, "c")


async def test_tokens_beyond_the_limit_are_denied_until_the_wait_it_names(world: World) -> None:
    who = await world.caller(Terms(tokens_per_minute=600))
    await world.reserved(who, "a", tokens=590)
    no = await world.denied(who, "b", tokens=20)
    assert no.reason == "tokens"
    assert no.retry_after == pytest.approx(1, abs=0.01)
    world.clock.now += no.retry_after
    await world.reserved(who, "b", tokens=20)


async def test_a_spent_day_is_denied_until_midnight_utc(world: World) -> None:
    who = await world.caller(Terms(tokens_per_day=100))
    await world.reserved(who, "a", tokens=100)
    assert ("tokens", 6_400.0) == ((no := await world.denied(who, "b", tokens=1)).reason, no.retry_after)
    world.clock.now = MIDNIGHT
    await world.reserved(who, "b", tokens=100)


async def test_a_burst_lets_a_quiet_caller_take_several_minutes_at_once(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=2, burst=2))
    for n in range(4):
        await world.reserved(who, f"call-{n}")
    assert (await world.denied(who, "e")).retry_after == pytest.approx(30, abs=0.01)


async def test_waiting_is_useless_for_a_call_larger_than_the_whole_limit(world: World) -> None:
    no = await world.denied(await world.caller(Terms(tokens_per_minute=100)), "a", tokens=101)
    assert (no.reason, no.retry_after) == ("tokens", 0.0)


@pytest.mark.parametrize("level", ["tenant", "project", "key"])
async def test_each_level_is_counted_by_itself_and_named_when_it_denies(world: World, level: str) -> None:
    levels = {name: Terms(requests_per_minute=5) for name in ("tenant", "project", "key")}
    levels[level] = Terms(requests_per_minute=1)
    who = await world.caller(**levels)
    await world.reserved(who, "a")
    no = await world.denied(who, "b")
    assert no.limit is not None
    assert (level, 1) == (no.limit.owner.partition(":")[0], no.limit.amount)


async def test_windows_are_those_of_the_tightest_common_limit(world: World) -> None:
    key = Terms.model_validate({"requests_per_day": 50, "per_model": {"large": {"requests_per_minute": 1}}})
    who = await world.caller(key, project=Terms(requests_per_minute=40), tenant=Terms(requests_per_minute=45))
    windows = (await world.reserved(who, "a", names=["large"])).windows
    assert (40, 39) == (windows["requests"].limit, windows["requests"].remaining)


async def test_a_call_denied_for_its_tokens_takes_no_request(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=60, tokens_per_minute=600))
    assert (await world.denied(who, "a", tokens=601)).windows["requests"].remaining == 60


async def test_settling_gives_back_the_tokens_that_were_not_used(world: World) -> None:
    who = await world.caller(Terms(tokens_per_minute=600), tenant=Terms(tokens_per_day=600))
    await world.reserved(who, "a", tokens=600)
    await world.settle(who, "a", tokens=50)
    assert (await world.reserved(who, "b", tokens=1)).windows["tokens"].remaining == 549
    assert (await world.denied(who, "c", tokens=550)).reason == "tokens"


async def test_what_yesterday_lent_is_not_given_back_to_today(world: World) -> None:
    who = await world.caller(Terms(tokens_per_day=100))
    world.clock.now = MIDNIGHT - 1
    await world.reserved(who, "yesterday", tokens=100)
    world.clock.now = MIDNIGHT
    await world.reserved(who, "today", tokens=100)
    await world.settle(who, "yesterday", tokens=10)
    assert (await world.denied(who, "more", tokens=1)).windows["tokens"].remaining == 0


async def test_settling_gives_no_request_back(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=60))
    await world.reserved(who, "a")
    await world.settle(who, "a")
    assert (await world.reserved(who, "b")).windows["requests"].remaining == 58


async def test_only_so_many_calls_are_on_their_way_until_one_is_settled(world: World) -> None:
    who = await world.caller(Terms(concurrent_requests=2))
    await world.reserved(who, "a")
    await world.reserved(who, "b")
    assert ("concurrent", 1.0) == ((no := await world.denied(who, "c")).reason, no.retry_after)
    await world.settle(who, "a")
    await world.reserved(who, "c")


# -- limits of models and tiers --------------------------------------------------------------------

LARGE = Terms.model_validate(
    {"tokens_per_day": 1000, "per_model": {"large": {"tokens_per_day": 100, "concurrent_requests": 1}}}
)


async def test_a_models_limit_counts_only_calls_that_ask_for_it(world: World) -> None:
    who = await world.caller(LARGE)
    await world.reserved(who, "a", tokens=100, names=["large"])
    await world.settle(who, "a", tokens=100)
    no = await world.denied(who, "b", tokens=1, names=["large"])
    assert no.limit is not None
    assert ("tokens", "large") == (no.reason, no.limit.model)
    await world.reserved(who, "c", tokens=900, names=["small"])


async def test_once_narrowed_a_call_counts_against_the_limits_of_its_tier(world: World) -> None:
    who = await world.caller(LARGE)
    await world.reserved(who, "a", tokens=60, names=["auto"])
    assert isinstance(await world.narrow(who, "a", tokens=60, names=["large"]), Reservation)
    no = await world.denied(who, "b", tokens=10, names=["large"])
    assert no.reason == "concurrent"
    await world.settle(who, "a", tokens=60)
    no = await world.denied(who, "b", tokens=60, names=["large"])
    assert no.reason == "tokens"
    assert no.windows["tokens"].remaining == 940


async def test_a_call_that_cannot_be_narrowed_stays_as_it_was_and_may_take_another_tier(world: World) -> None:
    who = await world.caller(LARGE, tenant=Terms(budget=TWO))
    await world.reserved(who, "a", tokens=101, names=["auto"], cost="2")
    no = await world.narrow(who, "a", tokens=101, names=["large"], cost="1.5")
    assert isinstance(no, Denied)
    assert no.windows["tokens"].remaining == 899
    assert (await world.denied(who, "b", cost="0.1")).reason == "budget"
    kept = await world.narrow(who, "a", tokens=101, names=["small"], cost="0.5")
    assert isinstance(kept, Reservation)
    assert (Decimal("0.5"), 899) == (kept.cost, kept.windows["tokens"].remaining)
    await world.reserved(who, "b", cost="1.5")


async def test_narrowing_takes_no_second_place_request_or_token_of_what_the_call_has(world: World) -> None:
    every = {"requests_per_minute": 1, "tokens_per_minute": 10, "concurrent_requests": 1}
    key = Terms.model_validate({**every, "per_model": {"large": every}})
    who = await world.caller(key, tenant=Terms(budget=ONE))
    await world.reserved(who, "a", names=["auto"])
    for _ in range(2):
        got = await world.narrow(who, "a", names=["large"])
        assert isinstance(got, Reservation), got
    assert (got.windows["requests"].remaining, got.windows["tokens"].remaining) == (0, 0)


async def test_a_call_that_is_not_held_cannot_be_narrowed(world: World) -> None:
    no = await world.narrow(await world.caller(), "never")
    assert isinstance(no, Denied)
    assert (no.reason, no.limit) == ("expired", None)


# -- money -----------------------------------------------------------------------------------------


async def test_the_budget_counts_what_is_reserved(world: World) -> None:
    who = await world.caller(tenant=Terms(budget=TWO))
    await world.reserved(who, "a", cost="1.5")
    no = await world.denied(who, "b", cost="0.500000001")
    assert (no.reason, no.owner) == ("budget", "tenant:acme")
    await world.reserved(who, "c", cost="0.5")


async def test_a_budget_that_is_only_reserved_is_worth_waiting_for_and_a_spent_one_is_not(world: World) -> None:
    who = await world.caller(tenant=Terms(budget=TWO))
    await world.reserved(who, "a", cost="1.5")
    assert (await world.denied(who, "b", cost="1")).retry_after > 0
    assert (await world.denied(who, "b", cost="2.1")).retry_after == 0
    await world.settle(who, "a", cost="1.5")
    assert (await world.denied(who, "b", cost="1")).retry_after == 0


async def test_a_call_denied_for_its_cost_takes_no_request_token_or_place_of_any_level(world: World) -> None:
    level = Terms(requests_per_minute=60, tokens_per_minute=600, tokens_per_day=700, concurrent_requests=1)
    who = await world.caller(level, project=level, tenant=level.model_copy(update={"budget": ONE}))
    no = await world.denied(who, "a", cost="2")
    assert (no.windows["requests"].remaining, no.windows["tokens"].remaining) == (60, 600)
    windows = (await world.reserved(who, "b", tokens=100)).windows
    assert (windows["requests"].remaining, windows["tokens"].remaining) == (59, 500)


async def test_settling_gives_back_what_was_reserved_and_takes_what_was_spent(world: World) -> None:
    who = await world.caller(tenant=Terms(budget=TWO))
    await world.reserved(who, "a", cost="2")
    await world.settle(who, "a", "0.75")
    assert (await world.denied(who, "b", cost="1.250000001")).reason == "budget"
    await world.reserved(who, "c", cost="1.25")


async def test_settling_the_same_row_again_changes_nothing(world: World) -> None:
    who = await world.caller(Terms(tokens_per_minute=600), tenant=Terms(budget=TWO))
    await world.reserved(who, "a", tokens=100)
    for _ in range(3):
        await world.settle(who, "a", "0.5", tokens=40)
    assert (await world.denied(who, "b", cost="1.500000001")).windows["tokens"].remaining == 560
    await world.reserved(who, "c", cost="1.5")


async def test_a_row_without_a_reservation_is_billed_too(world: World) -> None:
    who = await world.caller(tenant=Terms(budget=TWO))
    await world.settle(who, "none", "1.5")
    assert (await world.denied(who, "a", cost="0.6")).reason == "budget"


async def test_a_call_in_the_red_may_still_be_narrowed_to_no_more_than_it_holds(world: World) -> None:
    who = await world.caller(tenant=Terms(budget=TWO))
    await world.reserved(who, "a", cost="1")
    await world.settle(who, "over", "1.5")
    assert isinstance(await world.narrow(who, "a", cost="1"), Reservation)
    assert isinstance(await world.narrow(who, "a", cost="1.000000001"), Denied)
    assert (await world.denied(who, "b", cost="0")).reason == "budget"


async def test_the_same_call_again_is_the_same_reservation(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=60, concurrent_requests=1), tenant=Terms(budget=ONE))
    first = await world.reserved(who, "a")
    again = await world.reserved(who, "a")
    assert (first.id, first.cost, first.tokens) == (again.id, again.cost, again.tokens)
    assert again.windows["requests"].remaining == 59


async def test_two_keys_of_one_tenant_have_limits_of_their_own_and_one_budget(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=1), tenant=Terms(budget=ONE))
    other, third = (replace(who, key_id=name, limits=()) for name in ("key_other", "key_third"))
    await world.reserved(who, "a", cost="0.5")
    assert (await world.denied(who, "b", cost="0.5")).reason == "requests"
    await world.reserved(other, "c", cost="0.5")
    assert (await world.denied(third, "d", cost="0.5")).reason == "budget"


async def test_a_database_that_answers_is_ready_and_takes_what_to_watch_for(world: World) -> None:
    world.ledger.watch(AbusePolicy(), 60.0)
    assert await world.ledger.ready() is True
