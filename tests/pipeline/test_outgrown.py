"""No engine is sent over a tenth more than was reserved for: what a prompt grows by is reserved too, or refused."""

from __future__ import annotations

from decimal import Decimal

from app.core.events import Refusal
from app.testing.fakes import FakeLedger, FakeScrubber
from tests.kit import Kit, ask, run

NAMES = " ".join(["Al"] * 300)


def kit(balance: str) -> Kit:
    return Kit(scrubber=FakeScrubber(names=["Al"]), ledger=FakeLedger({"acme": Decimal(balance)}))


async def test_a_prompt_that_grew_on_its_way_holds_more() -> None:
    call, _ = await run(kit("1").gateway(), ask(NAMES, model="small", max_tokens=1))
    assert call.reservation is not None
    assert call.prompt_tokens_low > 300 * len("<PERSON_1>") // 4
    assert call.reservation.cost >= Decimal(call.prompt_tokens_low) / 1_000_000


async def test_one_that_its_budget_does_not_pay_is_refused_before_the_engine() -> None:
    world = kit("0.0004")
    _, events = await run(world.gateway(), ask(NAMES, model="small", max_tokens=1))
    (refusal,) = events
    assert isinstance(refusal, Refusal)
    assert refusal.error.code == "insufficient_quota"
    assert world.engines["a"].requests == []
    assert world.ledger.balances["acme"] == Decimal("0.0004")


async def test_one_that_stayed_as_it_was_holds_what_it_held() -> None:
    world = kit("1")
    call, _ = await run(world.gateway(), ask("Al is here " + "word " * 100, model="small", max_tokens=1))
    assert call.prompt_tokens_low == len("Al is here " + "word " * 100) // 4
