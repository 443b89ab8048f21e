"""The Ledger port: the fake, SQLite and a real PostgreSQL behave alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from app.adapters.fakes import FakeLedger
from app.adapters.sql.ledger import SqlLedger, Terms
from app.ports import Denied, Ledger, Principal, Reservation
from tests.contracts.ledger_kit import Clock, row


@dataclass
class World:
    """A ledger, its clock, and a way to make callers."""

    ledger: Ledger
    clock: Clock
    register: Callable[[str, Decimal | None, Terms], object] = field(repr=False)

    async def caller(self, budget: str | None = None, rpm: int = 0, tpm: int = 0) -> Principal:
        """A live key's owner."""
        made = self.register("sk-acme", None if budget is None else Decimal(budget), Terms(frozenset(), rpm, tpm))
        if made is not None:
            await made
        who = await self.ledger.identify("sk-acme")
        assert who is not None
        return who

    async def reserve(self, who: Principal, id_: str, tokens: int = 10, cost: str = "1") -> Reservation | Denied:
        return await self.ledger.reserve(who, id_, tokens, Decimal(cost))

    async def reserved(self, who: Principal, id_: str, tokens: int = 10, cost: str = "1") -> Reservation:
        got = await self.reserve(who, id_, tokens, cost)
        assert isinstance(got, Reservation), got
        return got

    async def denied(self, who: Principal, id_: str, tokens: int = 10, cost: str = "1") -> Denied:
        got = await self.reserve(who, id_, tokens, cost)
        assert isinstance(got, Denied), got
        return got

    async def settle(self, who: Principal, reservation: Reservation | None, cost: str, tokens: int = 0) -> None:
        id_ = reservation.id if reservation else "none"
        await self.ledger.settle(reservation, row(id_, who, cost, tokens))


@pytest.fixture(params=["fake", "sqlite", "postgres"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    clock = Clock()
    if request.param == "fake":
        fake = FakeLedger(clock=clock)

        def remember(key: str, budget: Decimal | None, terms: Terms) -> None:
            limits = terms.requests_per_minute, terms.tokens_per_minute
            fake.keys[key] = Principal("acme", "key_1", terms.scopes, *limits)
            if budget is not None:
                fake.balances["acme"] = budget

        yield World(fake, clock, remember)
        return
    ledger = SqlLedger(request.getfixturevalue(f"{request.param}_url"), clock)

    async def register(key: str, budget: Decimal | None, terms: Terms) -> None:
        await ledger.ensure_tenant("acme", budget=budget)
        await ledger.ensure_key(key, "acme", terms)

    yield World(ledger, clock, register)
    await ledger.close()


async def test_a_live_key_names_its_tenant_and_limits(world: World) -> None:
    who = await world.caller(rpm=60, tpm=1000)
    assert (who.tenant, who.requests_per_minute, who.tokens_per_minute) == ("acme", 60, 1000)


async def test_an_unknown_key_is_nobody(world: World) -> None:
    await world.caller()
    assert await world.ledger.identify("sk-wrong") is None
    assert await world.ledger.identify("") is None


async def test_a_caller_without_limits_or_budget_is_never_denied_and_sees_no_window(world: World) -> None:
    who = await world.caller()
    assert (await world.reserved(who, "a", tokens=10**9, cost="1000000")).windows == {}


async def test_a_reservation_keeps_what_was_asked(world: World) -> None:
    kept = await world.reserved(await world.caller(), "a", tokens=7, cost="0.000000001")
    assert ("a", Decimal("1e-9"), 7) == (kept.id, kept.cost, kept.tokens)


async def test_windows_show_the_limit_what_is_left_and_when_it_is_full_again(world: World) -> None:
    who = await world.caller(rpm=60, tpm=600)
    windows = (await world.reserved(who, "a", tokens=100)).windows
    assert (windows["requests"].limit, windows["requests"].remaining, windows["requests"].reset) == (60, 59, 1.0)
    assert (windows["tokens"].limit, windows["tokens"].remaining, windows["tokens"].reset) == (600, 500, 10.0)


async def test_the_request_after_the_last_allowed_one_is_denied_until_the_wait_it_names(world: World) -> None:
    who = await world.caller(rpm=2)
    await world.reserved(who, "a")
    await world.reserved(who, "b")
    no = await world.denied(who, "c")
    assert no.reason == "requests"
    assert no.retry_after == pytest.approx(30, abs=0.01)
    world.clock.now += no.retry_after
    await world.reserved(who, "c")


async def test_tokens_beyond_the_limit_are_denied_until_the_wait_it_names(world: World) -> None:
    who = await world.caller(tpm=600)
    await world.reserved(who, "a", tokens=590)
    no = await world.denied(who, "b", tokens=20)
    assert no.reason == "tokens"
    assert no.retry_after == pytest.approx(1, abs=0.01)
    world.clock.now += no.retry_after
    await world.reserved(who, "b", tokens=20)


async def test_waiting_is_useless_for_a_call_larger_than_the_whole_limit(world: World) -> None:
    no = await world.denied(await world.caller(tpm=100), "a", tokens=101)
    assert (no.reason, no.retry_after) == ("tokens", 0.0)


async def test_the_budget_counts_what_is_reserved(world: World) -> None:
    who = await world.caller(budget="2")
    await world.reserved(who, "a", cost="1.5")
    no = await world.denied(who, "b", cost="0.500000001")
    assert (no.reason, no.retry_after) == ("budget", 0.0)
    await world.reserved(who, "c", cost="0.5")


async def test_a_call_denied_for_its_cost_takes_no_request_and_no_token(world: World) -> None:
    who = await world.caller(budget="1", rpm=60, tpm=600)
    no = await world.denied(who, "a", cost="2")
    assert (no.windows["requests"].remaining, no.windows["tokens"].remaining) == (60, 600)
    windows = (await world.reserved(who, "b", tokens=100)).windows
    assert (windows["requests"].remaining, windows["tokens"].remaining) == (59, 500)


async def test_a_call_denied_for_its_tokens_takes_no_request(world: World) -> None:
    who = await world.caller(rpm=60, tpm=600)
    assert (await world.denied(who, "a", tokens=601)).windows["requests"].remaining == 60


async def test_settling_gives_back_what_was_reserved_and_takes_what_was_spent(world: World) -> None:
    who = await world.caller(budget="2")
    await world.settle(who, await world.reserved(who, "a", cost="2"), "0.75")
    assert (await world.denied(who, "b", cost="1.250000001")).reason == "budget"
    await world.reserved(who, "c", cost="1.25")


async def test_settling_gives_back_the_tokens_that_were_not_used(world: World) -> None:
    who = await world.caller(tpm=600)
    await world.settle(who, await world.reserved(who, "a", tokens=600), "0", tokens=50)
    assert (await world.reserved(who, "b", tokens=1)).windows["tokens"].remaining == 549


async def test_settling_gives_no_request_back(world: World) -> None:
    who = await world.caller(rpm=60)
    await world.settle(who, await world.reserved(who, "a"), "0")
    assert (await world.reserved(who, "b")).windows["requests"].remaining == 58


async def test_settling_the_same_row_again_changes_nothing(world: World) -> None:
    who = await world.caller(budget="2", tpm=600)
    held = await world.reserved(who, "a", tokens=100, cost="1")
    for _ in range(3):
        await world.settle(who, held, "0.5", tokens=40)
    assert (await world.denied(who, "b", cost="1.500000001")).windows["tokens"].remaining == 560
    await world.reserved(who, "c", cost="1.5")


async def test_a_row_without_a_reservation_is_billed_too(world: World) -> None:
    who = await world.caller(budget="2")
    await world.settle(who, None, "1.5")
    assert (await world.denied(who, "a", cost="0.6")).reason == "budget"


async def test_the_same_call_again_is_the_same_reservation(world: World) -> None:
    who = await world.caller(budget="1", rpm=60)
    first = await world.reserved(who, "a", cost="1")
    again = await world.reserved(who, "a", cost="1")
    assert (first.id, first.cost, first.tokens) == (again.id, again.cost, again.tokens)
    assert again.windows["requests"].remaining == 59


async def test_two_keys_of_one_tenant_have_limits_of_their_own_and_one_budget(world: World) -> None:
    who = await world.caller(budget="1", rpm=1)
    other = replace(who, key_id="key_other")
    await world.reserved(who, "a", cost="0.5")
    assert (await world.denied(who, "b", cost="0.5")).reason == "requests"
    await world.reserved(other, "c", cost="0.5")
    assert (await world.denied(replace(who, key_id="key_third"), "d", cost="0.5")).reason == "budget"


async def test_a_database_that_answers_is_ready(world: World) -> None:
    assert await world.ledger.ready() is True
