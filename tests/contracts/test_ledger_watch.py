"""What settling sets off: budget alerts, the spend breaker, strikes. Each in the settlement's own transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any

import orjson
import pytest

from app.audit.records import Record
from app.core.ports import AbusePolicy, Notice, Principal
from app.core.terms import Terms
from app.db.schema import notices
from tests.contracts.ledger_kit import HOLD, MIDNIGHT, START, SqlWorld, sql_world

TEN = Decimal(10)
_numbers = count()


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[SqlWorld]:
    async with sql_world(database_url) as made:
        yield made


async def told(world: SqlWorld, kind: str) -> list[Notice]:
    """The notices of this kind, in the order they came."""
    rows = await world.rows(notices, notices.c.kind == kind)
    made = [Notice(row.id, row.at, row.kind, row.tenant, orjson.loads(row.data)) for row in rows]
    return sorted(made, key=lambda notice: (notice.at, notice.data.get("percent", 0), notice.id))


async def recorded(world: SqlWorld, kind: str, chain: str = "acme") -> list[Record]:
    """The chain's records of this kind."""
    return [record for record in await world.records(chain) if record.kind == kind]


async def spend(world: SqlWorld, who: Principal, *costs: str) -> None:
    """One call after the other."""
    for cost in costs:
        await world.settle(who, f"call-{next(_numbers)}", cost)


# -- budget alerts ---------------------------------------------------------------------------------


async def percents(world: SqlWorld, account: str = "tenant:acme") -> list[int]:
    found = [one.data["percent"] for one in await told(world, "budget.threshold") if one.data["account"] == account]
    records = [orjson.loads(one.data)["percent"] for one in await recorded(world, "budget.threshold")]
    if account == "tenant:acme":
        assert found == records
    return found


async def test_each_percentage_of_a_budget_is_told_once_when_it_is_reached(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=TEN))
    await spend(world, who, "4.999999999")
    assert await percents(world) == []
    await spend(world, who, "0.000000001")
    assert await percents(world) == [50]
    world.clock.now += 1
    await spend(world, who, "2", "0.5", "0.5")
    assert await percents(world) == [50, 80]
    world.clock.now += 1
    await spend(world, who, "3", "5")
    assert await percents(world) == [50, 80, 100]


async def test_a_notice_says_whose_budget_how_much_and_when(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=TEN, budget_period="day"))
    await spend(world, who, "5.5")
    (notice,) = await told(world, "budget.threshold")
    assert (START, "acme") == (notice.at, notice.tenant)
    facts = {"account": "tenant:acme", "percent": 50, "budget": "10.000000000", "spent": "5.500000000", "period": "day"}
    assert facts == notice.data
    (record,) = await recorded(world, "budget.threshold")
    assert ("system", "tenant:acme", facts) == (record.actor, record.subject, orjson.loads(record.data))


async def test_a_jump_over_two_percentages_tells_of_both(world: SqlWorld) -> None:
    await spend(world, await world.caller(tenant=Terms(budget=TEN)), "9")
    assert await percents(world) == [50, 80]


async def test_calls_settled_together_tell_of_each_percentage_once(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=TEN))
    await asyncio.gather(*(world.settle(who, f"call-{n}", "1") for n in range(12)))
    assert await percents(world) == [50, 80, 100]


async def test_what_is_only_reserved_is_no_alert(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=TEN))
    await world.reserved(who, "a", cost="10")
    await world.settle(who, "a", "1")
    assert await percents(world) == []


async def test_every_level_tells_of_its_own_budget(world: SqlWorld) -> None:
    who = await world.caller(
        Terms(budget=Decimal(2)), project=Terms(budget=Decimal(4)), tenant=Terms(budget=Decimal(8))
    )
    await spend(world, who, "2")
    assert [100, 80, 50] == sorted(await percents(world, f"key:{who.key_id}"), reverse=True)
    assert await percents(world, "project:web") == [50]
    assert {"acme"} == {one.tenant for one in await told(world, "budget.threshold")}


async def test_a_new_period_tells_anew(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=TEN, budget_period="day"))
    await spend(world, who, "9")
    world.clock.now = MIDNIGHT
    await spend(world, who, "1")
    assert await percents(world) == [50, 80]
    await spend(world, who, "8")
    assert await percents(world) == [50, 80, 50, 80]


async def test_a_changed_budget_tells_anew(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=TEN))
    await spend(world, who, "9")
    world.clock.now += 1
    await world.admin_service.set_budget("tenant:acme", Decimal(18), actor="test")
    await spend(world, who, "1")
    assert await percents(world) == [50, 80, 50]


async def test_a_budget_may_be_told_of_at_other_percentages_or_never(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=TEN))
    world.ledger.watch(AbusePolicy(alerts=()), HOLD)
    await spend(world, who, "2")
    world.ledger.watch(AbusePolicy(alerts=(10, 25, 99)), HOLD)
    await spend(world, who, "0.5")
    assert await percents(world) == [10, 25]


# -- the breaker -----------------------------------------------------------------------------------

BREAKER = AbusePolicy(breaker_multiple=10, breaker_floor=Decimal(3600), breaker_window=300, breaker_norm=86_400)
"""The floor is 1 a second, so that 3,000 within the window is ten times as much."""


async def test_a_tenant_that_spends_ten_times_its_norm_is_paused_and_the_operator_told(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(BREAKER, HOLD)
    await spend(world, who, "3000")
    assert (await world.again()).paused == ""
    await spend(world, who, "1")
    assert (await world.again()).paused == "spending far above its norm"
    (notice,) = await told(world, "tenant.paused")
    facts = {"until": START + 3600, "why": "spending far above its norm"}
    assert ("acme", facts) == (notice.tenant, notice.data)
    (record,) = await recorded(world, "tenant.pause")
    assert ("system", "acme", facts) == (record.actor, record.subject, orjson.loads(record.data))


async def test_a_pause_ends_by_itself_and_the_breaker_begins_anew(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(replace(BREAKER, breaker_pause=2), HOLD)
    await spend(world, who, "3001")
    world.clock.now += 1.9
    assert (await world.again()).paused
    world.clock.now += 0.1
    assert (await world.again()).paused == ""
    await spend(world, who, "1000")
    assert (await world.again()).paused == ""
    await spend(world, who, "2001")
    assert (await world.again()).paused


async def test_one_who_always_spends_much_is_not_paused_for_it(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(replace(BREAKER, breaker_floor=10**9), HOLD)
    for hour in range(48):  # 4 a second, 0.86 of it known after two norms' time: 10,400 within the window is too much
        world.clock.now = START + hour * 3600
        await spend(world, who, "14400")
    world.ledger.watch(BREAKER, HOLD)
    world.clock.now += 3600
    await spend(world, who, "9000")
    assert (await world.again()).paused == ""
    await spend(world, who, "3000")
    assert (await world.again()).paused


async def test_only_the_tenant_that_runs_away_is_paused_though_others_settle_in_the_same_batch(world: SqlWorld) -> None:
    calm = await world.caller(name="calm")
    wild = await world.caller()
    world.ledger.watch(BREAKER, HOLD)
    calls = [world.settle(wild, f"wild-{n}", "1000") for n in range(8)]
    await asyncio.gather(*calls, *(world.settle(calm, f"calm-{n}", "100") for n in range(8)))
    assert ["", "spending far above its norm"] == [(await world.again(which)).paused for which in (0, 1)]
    assert ["acme"] == [one.tenant for one in await told(world, "tenant.paused")]


async def test_the_breaker_never_shortens_the_operators_own_pause(world: SqlWorld) -> None:
    who = await world.caller()
    await world.admin_service.pause("acme", "unpaid", START + 90_000, actor="test")
    world.ledger.watch(BREAKER, HOLD)
    await spend(world, who, "5000")
    world.clock.now += 89_999
    assert (await world.again()).paused == "unpaid"


async def test_a_breaker_that_is_off_pauses_nobody(world: SqlWorld) -> None:
    who = await world.caller()
    await spend(world, who, "1000000")
    assert (await world.again()).paused == ""
    assert await told(world, "tenant.paused") == []


# -- strikes ---------------------------------------------------------------------------------------

STRIKES = AbusePolicy(strikes_to_throttle=3, strikes_to_suspend=5, strike_window=600, throttle_seconds=900)


async def strike(world: SqlWorld, who: Principal, times: int = 1, **changes: Any) -> None:
    """So many calls that a stage refused."""
    refused = {"outcome": "refused", "refused_by": "guard", "created": world.clock.now, **changes}
    for _ in range(times):
        await world.settle(who, f"call-{next(_numbers)}", **refused)
        world.clock.now += 1


def rpm(who: Principal) -> list[int]:
    limits = (limit for limit in who.limits if limit.owner.startswith("key:"))
    return [limit.amount for limit in limits if limit.name == "requests/minute/*"]


@pytest.mark.parametrize(("own", "throttled"), [(None, 6), (100, 6), (2, 2)])
async def test_strikes_throttle_a_key_for_a_while(world: SqlWorld, own: int | None, throttled: int) -> None:
    who = await world.caller(Terms(requests_per_minute=own))
    world.ledger.watch(STRIKES, HOLD)
    await strike(world, who, 2)
    assert rpm(who) == rpm(await world.again())
    await strike(world, who)
    assert rpm(await world.again()) == [throttled]
    whys = [limit.why for limit in (await world.again()).limits if limit.name == "requests/minute/*"]
    assert any("slowed down until" in why for why in whys)
    (notice,) = await told(world, "key.throttled")
    facts = {"strikes": 3, "until": START + 902, "requests_per_minute": 6}
    assert {"key": who.key_id, **facts} == notice.data
    (record,) = await recorded(world, "key.throttle")
    assert (who.key_id, facts) == (record.subject, orjson.loads(record.data))
    world.clock.now = START + 902
    assert rpm(who) == rpm(await world.again())


async def test_more_strikes_suspend_the_key_and_each_step_is_told_once(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(STRIKES, HOLD)
    await strike(world, who, 4)
    assert (await world.again()).suspended == ""
    await strike(world, who, 3)
    assert (await world.again()).suspended == "5 refused calls within 600 s"
    assert [1, 1] == [len(await told(world, kind)) for kind in ("key.throttled", "key.suspended")]
    (record,) = await recorded(world, "key.suspend")
    assert (who.key_id, 5) == (record.subject, orjson.loads(record.data)["strikes"])
    world.clock.now += 10_000_000
    assert (await world.again()).suspended


async def test_a_throttle_is_told_of_again_only_once_it_was_over(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(AbusePolicy(strikes_to_throttle=1, strike_window=10, throttle_seconds=20), HOLD)
    await strike(world, who, 5)
    assert len(await told(world, "key.throttled")) == 1
    world.clock.now += 20
    await strike(world, who)
    assert len(await told(world, "key.throttled")) == 2


async def test_strikes_count_only_within_their_window(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(STRIKES, HOLD)
    for _ in range(5):
        await strike(world, who, 2)
        world.clock.now += 600
    assert rpm(await world.again()) == []


@pytest.mark.parametrize("stage", ["guard", "leak"])
async def test_a_call_that_a_stage_let_pass_but_wants_throttled_is_a_strike(world: SqlWorld, stage: str) -> None:
    who = await world.caller()
    world.ledger.watch(STRIKES, HOLD)
    await strike(world, who, 2, refused_by=f"{stage}.throttle", outcome="ok")
    assert rpm(await world.again()) == []
    await strike(world, who, 1, refused_by=f"{stage}.throttle", outcome="hit")
    assert rpm(await world.again()) == [6]


async def test_only_refusals_by_guard_and_moderator_are_strikes(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(STRIKES, HOLD)
    await strike(world, who, 5, refused_by="admit")
    await strike(world, who, 5, refused_by=None, outcome="ok")
    assert rpm(await world.again()) == []
    await strike(world, who, 3, refused_by="moderate")
    assert rpm(await world.again()) == [6]


async def test_one_keys_strikes_are_not_anothers(world: SqlWorld) -> None:
    one, other = await world.caller(), await world.caller()
    world.ledger.watch(STRIKES, HOLD)
    await strike(world, one, 5)
    assert (await world.again(0)).suspended
    assert ("", []) == ((await world.again(1)).suspended, rpm(await world.again(1)))
    await world.settle(other, "fine", "1")


async def test_a_reinstated_key_is_forgiven_its_strikes(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(STRIKES, HOLD)
    await strike(world, who, 6)
    await world.admin_service.reinstate_key(who.key_id, actor="test")
    world.clock.now += 1
    await strike(world, who, 2)
    who = await world.again()
    assert ("", []) == (who.suspended, rpm(who))
    await strike(world, who)
    assert rpm(await world.again()) == [6]


async def test_strikes_that_come_in_one_batch_are_all_counted(world: SqlWorld) -> None:
    who = await world.caller()
    world.ledger.watch(STRIKES, HOLD)
    refused = {"outcome": "refused", "refused_by": "moderate"}
    await asyncio.gather(*(world.settle(who, f"call-{n}", **refused) for n in range(30)))
    assert (await world.again()).suspended
    assert len(await told(world, "key.suspended")) == 1
