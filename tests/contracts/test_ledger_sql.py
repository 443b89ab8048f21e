"""What only the SQL ledger does: keys as hashes, lapsed reservations, hang-ups, and faults said in a sentence."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import event

from app.adapters.sql.ledger import LedgerError, SqlLedger, Terms
from app.ports import Denied, Principal, Reservation
from tests.contracts.ledger_kit import Clock, row

ONE = Decimal(1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ledger(database_url: str, clock: Clock) -> AsyncIterator[SqlLedger]:
    made = SqlLedger(database_url, clock, hold=60)
    yield made
    await made.close()


async def caller(ledger: SqlLedger, budget: str | None = None, terms: Terms | None = None) -> Principal:
    await ledger.ensure_tenant("acme", budget=None if budget is None else Decimal(budget))
    who = await ledger.identify(await ledger.create_key("acme", terms))
    assert who is not None
    return who


async def reserved(ledger: SqlLedger, who: Principal, id_: str, cost: Decimal = ONE, tokens: int = 10) -> Reservation:
    got = await ledger.reserve(who, id_, tokens, cost)
    assert isinstance(got, Reservation), got
    return got


# -- keys ------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_its_file_never_holds_it(sqlite_url: str) -> None:
    ledger = SqlLedger(sqlite_url)
    await ledger.ensure_tenant("acme")
    key = await ledger.create_key("acme")
    await ledger.close()
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    assert key.startswith("sk-")
    assert not [path for path in folder.iterdir() if key[7:].encode() in path.read_bytes()]


async def test_the_list_of_keys_tells_them_apart_by_their_first_characters(ledger: SqlLedger, clock: Clock) -> None:
    await ledger.ensure_tenant("acme")
    terms = Terms(frozenset({"chat", "admin"}), 60, 1000, clock.now + 9)
    key = await ledger.create_key("acme", terms)
    (listed,) = await ledger.keys("acme")
    assert (f"{key[:7]}...", terms, False, clock.now) == (listed.prefix, listed.terms, listed.disabled, listed.created)
    assert await ledger.keys("nobody") == []


async def test_a_disabled_key_is_dead_in_every_gateway_within_a_second(
    ledger: SqlLedger, database_url: str, clock: Clock
) -> None:
    await ledger.ensure_tenant("acme")
    key = await ledger.create_key("acme")
    other = SqlLedger(database_url, clock)
    who = await other.identify(key)
    assert who is not None
    await ledger.disable_key(who.key_id)
    assert await ledger.identify(key) is None
    clock.now += 1
    assert await other.identify(key) is None
    await other.close()


async def test_a_key_is_nobodys_once_it_expired(ledger: SqlLedger, clock: Clock) -> None:
    await ledger.ensure_tenant("acme")
    key = await ledger.create_key("acme", Terms(expires=clock.now + 0.5))
    assert await ledger.identify(key) is not None
    clock.now += 0.5
    assert await ledger.identify(key) is None


async def test_guessing_keys_fills_no_memory(ledger: SqlLedger) -> None:
    await ledger.ensure_tenant("acme")
    key = await ledger.create_key("acme")
    for start in range(0, 12_000, 4_000):
        assert {None} == set(await asyncio.gather(*(ledger.identify(f"sk-{n}") for n in range(start, start + 4_000))))
    assert len(ledger._known) <= 10_000
    assert await ledger.identify(key) is not None


async def test_a_key_longer_than_any_is_nobodys_without_a_look(ledger: SqlLedger) -> None:
    assert await ledger.identify("sk-" + "x" * 10_000_000) is None
    assert not ledger._known


async def test_a_development_key_is_made_once_and_its_terms_follow(ledger: SqlLedger) -> None:
    await ledger.ensure_tenant("acme")
    await ledger.ensure_key("sk-dev", "acme", Terms(requests_per_minute=5))
    await ledger.ensure_key("sk-dev", "acme", Terms(requests_per_minute=7))
    who = await ledger.identify("sk-dev")
    assert who is not None
    assert who.requests_per_minute == 7
    assert len(await ledger.keys()) == 1


async def test_ensuring_a_disabled_key_does_not_revive_it(ledger: SqlLedger) -> None:
    await ledger.ensure_tenant("acme")
    await ledger.ensure_key("sk-dev", "acme")
    await ledger.disable_key((await ledger.keys())[0].id)
    await ledger.ensure_key("sk-dev", "acme")
    assert await ledger.identify("sk-dev") is None


async def test_a_key_for_a_tenant_that_does_not_exist_names_the_tenant(ledger: SqlLedger) -> None:
    with pytest.raises(LedgerError, match="no tenant `nobody`"):
        await ledger.create_key("nobody")
    with pytest.raises(LedgerError, match="no key `key_x`"):
        await ledger.disable_key("key_x")


# -- reservations ----------------------------------------------------------------------------------


async def test_what_a_crashed_gateway_reserved_is_free_again_after_the_hold(ledger: SqlLedger, clock: Clock) -> None:
    who = await caller(ledger, budget="1")
    await reserved(ledger, who, "crashed")
    assert isinstance(await ledger.reserve(who, "b", 10, ONE), Denied)
    clock.now += 60
    await reserved(ledger, who, "c")


async def test_a_call_settled_after_its_reservation_lapsed_is_billed_once(ledger: SqlLedger, clock: Clock) -> None:
    who = await caller(ledger, budget="1")
    late = await reserved(ledger, who, "late")
    clock.now += 60
    after = await reserved(ledger, who, "after")
    await ledger.settle(late, row("late", who, "0.25"))
    await ledger.settle(after, row("after", who, "0.5"))
    (tenant,) = await ledger.tenants()
    assert (Decimal("0.75"), Decimal(0)) == (tenant.spent, tenant.reserved)


async def test_a_caller_who_leaves_while_reserving_leaves_nothing_reserved(ledger: SqlLedger) -> None:
    who = await caller(ledger, budget="100")
    for n in range(50):
        task = asyncio.create_task(ledger.reserve(who, f"call-{n}", 10, ONE))
        for _ in range(n % 5):
            await asyncio.sleep(0.0005)  # before it starts, while it runs, and after
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(result, Reservation):
            await ledger.settle(result, row(result.id, who))
    await ledger._writes.close()
    assert (await ledger.tenants())[0].reserved == 0


async def test_a_settlement_is_done_though_its_caller_leaves(ledger: SqlLedger) -> None:
    who = await caller(ledger)
    held = await reserved(ledger, who, "a")
    task = asyncio.create_task(ledger.settle(held, row("a", who, "0.5")))
    await asyncio.sleep(0)
    task.cancel()
    await ledger._writes.close()
    (tenant,) = await ledger.tenants()
    assert (Decimal("0.5"), Decimal(0)) == (tenant.spent, tenant.reserved)


async def test_the_same_call_many_times_at_once_is_reserved_and_billed_once(ledger: SqlLedger) -> None:
    who = await caller(ledger, budget="1")
    kept = await asyncio.gather(*(reserved(ledger, who, "a") for _ in range(20)))
    await asyncio.gather(*(ledger.settle(held, row("a", who, "0.5")) for held in kept))
    (tenant,) = await ledger.tenants()
    assert (Decimal("0.5"), Decimal(0)) == (tenant.spent, tenant.reserved)


# -- usage -----------------------------------------------------------------------------------------


async def test_a_usage_row_comes_back_as_it_was_written_newest_first(ledger: SqlLedger) -> None:
    who = await caller(ledger)
    rows = [
        replace(row(f"call-{n}", who, f"0.00000000{n}", tokens=n), created=n, tier=None, ttft=None) for n in range(5)
    ]
    await asyncio.gather(*(ledger.settle(None, each) for each in rows))
    assert rows[:1:-1] == await ledger.usage("acme", limit=3)
    assert await ledger.usage("nobody") == []


async def test_a_refused_call_of_nobodys_is_recorded(ledger: SqlLedger) -> None:
    await ledger.settle(None, row("a", Principal("anonymous", "none")))
    assert [used.tenant for used in await ledger.usage()] == ["anonymous"]


async def test_text_that_no_database_takes_is_written_with_its_faults_marked(ledger: SqlLedger) -> None:
    who = await caller(ledger)
    odd = replace(row("a", who), model="a\0b\ud800", trail={"risk": float("nan"), "labels": {"x"}})
    await ledger.settle(None, odd)
    (used,) = await ledger.usage()
    assert used.model == "a\ufffdb?"


async def test_an_operation_the_database_cannot_take_fails_alone(ledger: SqlLedger) -> None:
    who = await caller(ledger, budget="10")
    asked = [ledger.reserve(who, f"call-{n}", 2**80 if n == 1 else 10, ONE) for n in range(3)]
    good, bad, also_good = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(good, Reservation)
    assert isinstance(bad, Exception)
    assert isinstance(also_good, Reservation)
    assert (await ledger.tenants())[0].reserved == 2


async def test_a_changed_budget_holds_from_the_next_call(ledger: SqlLedger) -> None:
    who = await caller(ledger, budget="1")
    await reserved(ledger, who, "a")
    await ledger.set_budget("acme", Decimal(2))
    await reserved(ledger, who, "b")
    await ledger.set_budget("acme", Decimal("0.5"))
    assert isinstance(await ledger.reserve(who, "c", 1, Decimal(0)), Denied)


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["mysql://u:secret@host/db", "sqlite://", "sqlite:///:memory:", "ledger.db"])
def test_an_unusable_url_is_refused_with_the_choices_and_not_repeated(url: str) -> None:
    with pytest.raises(LedgerError, match=r"choose sqlite:///.* or postgresql://") as caught:
        SqlLedger(url)
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=rf"{tmp_path}/file/state .*give this user write access"):
        SqlLedger(f"sqlite:///{tmp_path}/file/state/ledger.db")


async def test_a_path_that_is_no_database_file_is_named(tmp_path: Path) -> None:
    ledger = SqlLedger(f"sqlite:///{tmp_path}")
    with pytest.raises(LedgerError, match=rf"{tmp_path} cannot be opened"):
        await ledger.tenants()
    assert await ledger.ready() is False
    await ledger.close()


async def test_a_lock_that_stays_is_waited_for_and_then_named(sqlite_url: str) -> None:
    ledger = SqlLedger(sqlite_url, patience=1)
    who = await caller(ledger)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="stayed locked by another process"):
        await ledger.reserve(who, "a", 1, ONE)
    waiting = asyncio.create_task(ledger.reserve(who, "b", 1, ONE))
    await asyncio.sleep(0.05)
    other.execute("ROLLBACK")
    assert isinstance(await waiting, Reservation)
    other.close()
    await ledger.close()


async def test_a_full_disk_is_named_and_nothing_is_half_written(sqlite_url: str) -> None:
    ledger = SqlLedger(sqlite_url)
    who = await caller(ledger)
    engine, _ = ledger._database._lanes["IMMEDIATE"]  # type: ignore[attr-defined]
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    big = replace(row("a", who, "1"), trail={"x": "y" * 100_000})
    with pytest.raises(LedgerError, match=r"is full\. Free space"):
        await ledger.settle(None, big)
    assert await ledger.usage() == []
    assert (await ledger.tenants())[0].spent == 0
    await ledger.close()


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    ledger = SqlLedger("postgresql://u:secret@127.0.0.1:1/db")
    assert await ledger.ready() is False
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1:1/db does not answer") as caught:
        await ledger.tenants()
    assert "secret" not in str(caught.value)
    await ledger.close()


async def test_what_the_server_says_at_the_door_is_passed_on(postgres_url: str) -> None:
    ledger = SqlLedger(f"{postgres_url}_missing")
    with pytest.raises(LedgerError, match=r"refused: database .* does not exist"):
        await ledger.tenants()
    await ledger.close()


async def test_connections_that_the_server_cut_are_replaced_unseen(postgres_url: str) -> None:
    ledger = SqlLedger(postgres_url)
    who = await caller(ledger, budget="1")
    held = await reserved(ledger, who, "a")
    axe = await asyncpg.connect(postgres_url)
    await axe.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'penstock'")
    await axe.close()
    await ledger.settle(held, row("a", who, "0.5"))
    (tenant,) = await ledger.tenants()
    assert (Decimal("0.5"), Decimal(0)) == (tenant.spent, tenant.reserved)
    await ledger.close()
