"""Claims and kept answers on real databases: one gateway of many works on a request, and its answer is kept sealed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from app.api.stored.idempotency import Busy, Differs, Fresh, Idempotency, Stored
from app.core.refusals import LedgerError
from app.db.schema import idempotency
from app.db.store import Store
from app.installation.secrets import Secrets
from tests.contracts.ledger_kit import Clock

SECRETS = Secrets("the secret of an installation for tests")
ANSWER = Stored(200, (("content-type", "application/json"), ("x-city", "Z\xfcrich")), b'{"a":1}\nand \x00 more\n')
ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    made = Store(database_url)
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(store: Store, clock: Clock) -> Idempotency:
    return Idempotency(store, SECRETS, clock, keep=1000, hold=100)


async def begun(kept: Idempotency, key_id: str = "key_1", token: str = "order-7") -> str:
    found = await kept.claim(key_id, token, ONE)
    assert isinstance(found, Fresh)
    return found.claim


async def test_a_request_is_fresh_then_busy_then_stored(kept: Idempotency) -> None:
    claim = await begun(kept)
    assert Busy() == await kept.claim("key_1", "order-7", ONE)
    await kept.keep("key_1", "order-7", claim, ANSWER)
    assert [ANSWER] * 2 == [await kept.claim("key_1", "order-7", ONE) for _ in range(2)]


async def test_the_same_token_with_another_request_differs_at_work_or_answered(kept: Idempotency) -> None:
    claim = await begun(kept)
    assert Differs() == await kept.claim("key_1", "order-7", OTHER)
    await kept.keep("key_1", "order-7", claim, ANSWER)
    assert Differs() == await kept.claim("key_1", "order-7", OTHER)


async def test_another_key_with_the_same_token_is_another_request(kept: Idempotency) -> None:
    claims = {await begun(kept, key, token) for key in ("key_1", "key_2") for token in ("a", "b")}
    assert 4 == len(claims)


async def test_a_released_request_may_be_made_anew(kept: Idempotency) -> None:
    await kept.release("key_1", "order-7", await begun(kept))
    await begun(kept)


async def test_an_answer_that_is_kept_cannot_be_released(kept: Idempotency) -> None:
    claim = await begun(kept)
    await kept.keep("key_1", "order-7", claim, ANSWER)
    await kept.release("key_1", "order-7", claim)
    assert ANSWER == await kept.claim("key_1", "order-7", ONE)


async def test_a_crashed_gateways_claim_is_anothers_after_the_hold(kept: Idempotency, clock: Clock) -> None:
    crashed = await begun(kept)
    clock.now += 99
    assert Busy() == await kept.claim("key_1", "order-7", ONE)
    clock.now += 1
    claim = await begun(kept)
    await kept.keep("key_1", "order-7", crashed, Stored(500, (), b"late"))
    await kept.release("key_1", "order-7", crashed)
    assert Busy() == await kept.claim("key_1", "order-7", ONE)
    await kept.keep("key_1", "order-7", claim, ANSWER)
    assert ANSWER == await kept.claim("key_1", "order-7", ONE)


async def test_an_answer_is_kept_so_long_and_then_its_token_is_free_for_any_request(
    kept: Idempotency, clock: Clock
) -> None:
    await kept.keep("key_1", "order-7", await begun(kept), ANSWER)
    clock.now += 999
    assert ANSWER == await kept.claim("key_1", "order-7", ONE)
    clock.now += 1
    assert isinstance(await kept.claim("key_1", "order-7", OTHER), Fresh)


async def test_of_many_gateways_that_claim_at_once_one_works(kept: Idempotency, database_url: str) -> None:
    await kept.expire()  # the tables stand
    stores = [Store(database_url) for _ in range(4)]
    gateways = [Idempotency(one, SECRETS) for one in stores]
    for token in ("a", "b", "c"):
        found = await asyncio.gather(*(one.claim("key_1", token, ONE) for one in gateways for _ in range(4)))
        assert {"Fresh": 1, "Busy": 15} == Counter(type(one).__name__ for one in found)
    await asyncio.gather(*(one.close() for one in stores))


async def test_of_many_gateways_one_takes_over_a_dead_claim(kept: Idempotency, clock: Clock, database_url: str) -> None:
    await begun(kept)
    clock.now += 100
    stores = [Store(database_url) for _ in range(4)]
    gateways = [Idempotency(one, SECRETS, clock) for one in stores]
    found = await asyncio.gather(*(one.claim("key_1", "order-7", ONE) for one in gateways))
    assert {"Fresh": 1, "Busy": 3} == Counter(type(one).__name__ for one in found)
    await asyncio.gather(*(one.close() for one in stores))


async def test_a_caller_who_is_cancelled_while_it_claims_leaves_no_claim(kept: Idempotency) -> None:
    await kept.expire()
    for pause in (0.0, 0.0005, 0.001, 0.002):
        asking = asyncio.create_task(kept.claim("key_1", "order-7", ONE))
        await asyncio.sleep(pause)
        asking.cancel()
        found = (await asyncio.gather(asking, return_exceptions=True))[0]
        if isinstance(found, Fresh):
            await kept.release("key_1", "order-7", found.claim)
        while kept._ending:
            await asyncio.sleep(0.01)
        await kept.release("key_1", "order-7", await begun(kept))


async def test_expire_deletes_what_is_over_and_nothing_else(kept: Idempotency, store: Store, clock: Clock) -> None:
    await kept.keep("key_1", "kept", await begun(kept, token="kept"), ANSWER)
    await begun(kept, token="crashed")
    clock.now += 100
    assert (1, 0) == (await kept.expire(), await kept.expire())
    assert ANSWER == await kept.claim("key_1", "kept", ONE)
    clock.now += 900
    assert 1 == await kept.expire()


async def test_neither_the_token_nor_the_answer_can_be_read_in_the_database(kept: Idempotency, store: Store) -> None:
    await kept.keep("key_1", "order-7", await begun(kept), ANSWER)
    [row] = await store.read(lambda connection: connection.execute(select(idempotency)).all())
    assert "order-7" not in str(row._asdict())
    assert b'"a":1' not in row.response


async def test_an_answer_sealed_by_another_secret_is_an_error_not_a_second_run(
    kept: Idempotency, store: Store, clock: Clock
) -> None:
    await kept.keep("key_1", "order-7", await begun(kept), ANSWER)
    other = Idempotency(store, Secrets("the secret of another installation!"), clock)
    with pytest.raises(LedgerError, match="PENSTOCK_SECRET"):
        await other.claim("key_1", "order-7", ONE)


async def test_a_keys_oldest_answers_go_where_they_are_too_many(store: Store, clock: Clock) -> None:
    kept = Idempotency(store, SECRETS, clock, most=3)
    tokens = [f"order-{n}" for n in range(5)]
    for key in ("key_1", "key_2"):
        for token in tokens[: 5 if key == "key_1" else 1]:
            clock.now += 1
            await kept.keep(key, token, await begun(kept, key, token), ANSWER)
    found = [isinstance(await kept.claim("key_1", token, ONE), Stored) for token in tokens]
    assert [False, False, True, True, True] == found
    assert isinstance(await kept.claim("key_2", tokens[0], ONE), Stored)


async def test_a_keys_oldest_answers_go_where_they_are_too_large_together(store: Store, clock: Clock) -> None:
    kept = Idempotency(store, SECRETS, clock, most_bytes=2_500)
    for token in "abcd":
        clock.now += 1
        await kept.keep("key_1", token, await begun(kept, "key_1", token), Stored(200, (), b"x" * 1_000))
    assert [False, False, True, True] == [isinstance(await kept.claim("key_1", one, ONE), Stored) for one in "abcd"]
