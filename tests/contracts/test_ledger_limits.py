"""Limits and budgets of key, project and tenant together: who denies takes nothing, what was not used comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from app.core.ports import Principal, Reservation
from app.core.terms import Terms
from app.db.schema import buckets, reservations
from tests.contracts.ledger_kit import HOLD, MIDNIGHT, SqlWorld, sql_world

DAY = 86_400
AMOUNTS = {
    "requests_per_minute": 100,
    "tokens_per_minute": 1000,
    "requests_per_day": 200,
    "tokens_per_day": 2000,
    "concurrent_requests": 50,
}
ROOMY = Terms.model_validate({**AMOUNTS, "per_model": {"large": AMOUNTS}, "budget": 100})
LEVELS = ("tenant", "project", "key")
Level = dict[tuple[str, str], float]


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[SqlWorld]:
    async with sql_world(database_url) as made:
        yield made


async def levels(world: SqlWorld) -> Level:
    """What each bucket that was ever used holds, by kind of owner and name."""
    rows = await world.rows(buckets)
    full = {"requests/day": 200, "tokens/day": 2000}  # a day's bucket is stored as what was taken of it
    return {
        (row.owner.partition(":")[0], row.name): row.level + full.get(row.name.rpartition("/")[0], 0) for row in rows
    }


async def money(world: SqlWorld, who: Principal) -> list[tuple[str, str]]:
    """What each account has spent and reserved, the widest first."""
    return [(f"{one.spent:f}", f"{one.reserved:f}") for one in await world.balances(who)]


def below(level: str, **terms: object) -> dict[str, Terms]:
    """Three roomy levels, of which one says something narrower."""
    narrow = {**ROOMY.model_dump(exclude_unset=True), **terms}
    return {name: Terms.model_validate(narrow) if name == level else ROOMY for name in LEVELS}


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("limit", AMOUNTS)
@pytest.mark.parametrize("model", ["*", "large"])
async def test_whichever_limit_denies_no_level_loses_anything(
    sqlite_url: str, level: str, limit: str, model: str
) -> None:
    amount = 15 if limit.startswith("tokens") else 1
    terms = {limit: amount} if model == "*" else {"per_model": {"large": {**AMOUNTS, limit: amount}}}
    async with sql_world(sqlite_url) as world:
        who = await world.caller(**below(level, **terms))
        await world.reserved(who, "a", names=["large"])
        before = await levels(world), await money(world, who)
        no = await world.denied(who, "b", names=["large"])
        assert no.limit is not None
        assert (level, amount, model) == (no.limit.owner.partition(":")[0], no.limit.amount, no.limit.model)
        assert before == (await levels(world), await money(world, who))
        assert ["a"] == [row.id for row in await world.rows(reservations)]


async def test_what_was_not_used_comes_back_to_every_bucket_to_the_token(world: SqlWorld) -> None:
    who = await world.caller(**below(""))
    await world.reserved(who, "a", tokens=900, names=["large"])
    await world.settle(who, "a", tokens=123)
    expected = {
        (level, f"{kind}/{per}/{model}"): AMOUNTS[f"{kind}_per_{per}"] - (123 if kind == "tokens" else 1)
        for level in LEVELS
        for kind in ("requests", "tokens")
        for per in ("minute", "day")
        for model in ("*", "large")
    }
    assert expected == await levels(world)


async def test_what_was_used_beyond_the_reservation_is_owed_on_every_level(world: SqlWorld) -> None:
    who = await world.caller(**below(""))
    await world.reserved(who, "a", tokens=10)
    await world.settle(who, "a", tokens=1010)
    found = await levels(world)
    assert [-10.0] * 3 == [found[level, "tokens/minute/*"] for level in LEVELS]
    assert (await world.denied(who, "b", tokens=1)).retry_after == pytest.approx(11 * 60 / 1000, abs=0.01)


async def test_what_a_crashed_gateway_reserved_is_free_again_on_every_level_after_the_hold(world: SqlWorld) -> None:
    who = await world.caller(**below("", concurrent_requests=1))
    await world.reserved(who, "crashed", tokens=900, cost="90", names=["large"])
    world.clock.now += HOLD
    assert (await world.ledger.sweep()) == (0, 0)
    found = await levels(world)
    for level in LEVELS:
        for model in ("*", "large"):
            assert found[level, f"tokens/day/{model}"] == 2000
            assert found[level, f"tokens/minute/{model}"] == 1000
            assert found[level, f"requests/day/{model}"] == 199
    assert [("0.000000000", "0.000000000")] * 3 == await money(world, who)
    await world.reserved(who, "next", tokens=900, cost="90", names=["large"])


async def test_the_sweep_counts_what_is_still_held(world: SqlWorld) -> None:
    who = await world.caller()
    await world.reserved(who, "old", cost="0.25")
    world.clock.now += HOLD / 2
    await world.reserved(who, "new", cost="0.5")
    assert (2, Decimal("0.75")) == await world.ledger.sweep()
    world.clock.now += HOLD / 2
    assert (1, Decimal("0.5")) == await world.ledger.sweep()
    expired = [one for one in await world.records() if one.kind == "reservation.expired"]
    assert ["old"] == [one.subject for one in expired]


async def test_a_place_among_the_concurrent_is_free_once_its_caller_leaves(world: SqlWorld) -> None:
    who = await world.caller(Terms(concurrent_requests=1))
    for n in range(20):
        task = asyncio.create_task(world.reserve(who, f"call-{n}"))
        await asyncio.sleep(0.0005 * (n % 5))
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, Reservation):
            await world.settle(who, result.id)
    await world.ledger._writes.close()
    await world.reserved(who, "next")


async def test_a_place_is_free_once_its_reservation_expired(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(concurrent_requests=1))
    await world.reserved(who, "crashed")
    world.clock.now += HOLD - 0.1
    await world.denied(who, "b")
    world.clock.now += 0.1
    await world.reserved(who, "b")


async def test_two_keys_of_a_project_share_its_limits_and_two_gateways_count_together(
    world: SqlWorld, database_url: str
) -> None:
    one = await world.caller(tenant=Terms(requests_per_day=3), project=Terms(concurrent_requests=2))
    _, key = await world.admin_service.create_key("acme", project="web", actor="test")
    _, outside = await world.admin_service.create_key("acme", actor="test")
    async with sql_world(database_url, world.clock) as other:
        two, third = [await other.authenticator.identify(each) for each in (key, outside)]
        assert two is not None
        assert third is not None
        await world.reserved(one, "a")
        await other.reserved(two, "b")
        assert [(await each).reason for each in (world.denied(one, "c"), other.denied(two, "d"))] == ["concurrent"] * 2
        await other.reserved(third, "e")
        no = await world.denied(third, "f")
        assert no.limit is not None
        assert ("requests", "tenant:acme") == (no.reason, no.limit.owner)


async def test_a_burst_in_one_batch_takes_exactly_the_limit(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(requests_per_minute=7, concurrent_requests=5))
    got = await asyncio.gather(*(world.reserve(who, f"call-{n}") for n in range(40)))
    assert sum(isinstance(one, Reservation) for one in got) == 5
    await asyncio.gather(*(world.settle(who, one.id) for one in got if isinstance(one, Reservation)))
    got = await asyncio.gather(*(world.reserve(who, f"again-{n}") for n in range(40)))
    assert sum(isinstance(one, Reservation) for one in got) == 2


async def test_a_changed_limit_holds_from_the_next_look_at_the_key(world: SqlWorld) -> None:
    who = await world.caller(Terms(requests_per_day=5))
    for n in range(3):
        await world.reserved(who, f"call-{n}")
    for limit, left in ((2, 0), (4, 1), (10, 7)):
        await world.admin_service.update_key(who.key_id, {"terms": Terms(requests_per_day=limit)}, actor="test")
        windows = (await world.reserve(await world.again(), "call-2")).windows
        assert (limit, left) == (windows["requests"].limit, windows["requests"].remaining)
    await world.admin_service.update_key(who.key_id, {"terms": Terms(requests_per_day=3)}, actor="test")
    assert (await world.denied(await world.again(), "next")).retry_after == MIDNIGHT - world.clock.now


# -- budgets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
async def test_the_budget_of_each_level_holds_and_the_denied_call_charges_no_level(world: SqlWorld, level: str) -> None:
    who = await world.caller(**below(level, budget=1))
    await world.reserved(who, "a", cost="0.75")
    before = await levels(world), await money(world, who)
    no = await world.denied(who, "b", cost="0.250000001")
    assert ("budget", level) == (no.reason, no.owner.partition(":")[0])
    assert no.retry_after > 0, "what is only set aside comes back"
    assert before == (await levels(world), await money(world, who))
    await world.settle(who, "a", "0.7")
    assert [("0.700000000", "0.000000000")] * 3 == await money(world, who)
    await world.reserved(who, "c", cost="0.3")
    await world.balanced(who)


@pytest.mark.parametrize(("period", "starts"), [("day", MIDNIGHT), ("month", MIDNIGHT + 16 * DAY)])
async def test_a_budget_is_full_again_when_its_period_begins_in_utc_and_not_before(
    world: SqlWorld, period: str, starts: float
) -> None:
    who = await world.caller(tenant=Terms.model_validate({"budget": 1, "budget_period": period}))
    await world.reserved(who, "a")
    await world.settle(who, "a", "1")
    world.clock.now = starts - 0.01
    assert (await world.denied(who, "b", cost="0.000000001")).owner == "tenant:acme"
    world.clock.now = starts
    await world.reserved(who, "b")
    await world.settle(who, "b", "0.25")
    tenant = (await world.balances(who))[0]
    assert (starts, Decimal("0.25"), Decimal("1.25")) == (tenant.since, tenant.period_spent, tenant.spent)
    await world.balanced(who)


async def test_a_total_budget_never_fills_again(world: SqlWorld) -> None:
    who = await world.caller(Terms(budget=Decimal(1)))
    await world.settle(who, "a", "1")
    world.clock.now += 1000 * DAY
    assert (await world.denied(who, "b", cost="0.000000001")).reason == "budget"


async def test_what_is_reserved_over_a_periods_end_counts_in_the_new_one_and_is_billed_there(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=Decimal(1), budget_period="day"))
    world.clock.now = MIDNIGHT - 1
    await world.reserved(who, "late", cost="0.75")
    world.clock.now = MIDNIGHT
    assert (await world.denied(who, "b", cost="0.3")).reason == "budget"
    await world.settle(who, "late", "0.5")
    tenant = (await world.balances(who))[0]
    assert (Decimal("0.5"), Decimal("0.5"), Decimal(0)) == (tenant.period_spent, tenant.spent, tenant.reserved)
    assert (await world.denied(who, "b", cost="0.6")).reason == "budget"


async def test_levels_may_have_periods_of_their_own(world: SqlWorld) -> None:
    key = Terms(budget=Decimal(1), budget_period="day")
    who = await world.caller(key, tenant=Terms(budget=Decimal("1.5"), budget_period="month"))
    await world.settle(who, "a", "1")
    assert (await world.denied(who, "b", cost="0.5")).owner == f"key:{who.key_id}"
    world.clock.now = MIDNIGHT
    assert (await world.denied(who, "b")).owner == "tenant:acme"
    await world.reserved(who, "b", cost="0.5")


async def test_a_changed_budget_holds_from_the_next_call(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=Decimal(1)))
    await world.reserved(who, "a")
    await world.admin_service.set_budget("tenant:acme", Decimal(2), actor="test")
    await world.reserved(who, "b")
    await world.admin_service.set_budget("tenant:acme", Decimal("0.5"), actor="test")
    await world.denied(who, "c", cost="0")
