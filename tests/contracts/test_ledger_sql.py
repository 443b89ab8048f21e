"""What only the SQL ledger does: hang-ups, the proof of every call, and faults said in a sentence."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import asyncpg
import orjson
import pytest
from sqlalchemy import delete, event, update

from app.billing.ledger.ledger import SqlLedger
from app.billing.ledger.transactions import values
from app.core.ports import Reservation, UsageRow
from app.core.refusals import LedgerError
from app.core.terms import Terms
from app.db.schema import audit, notices, usage
from app.db.store import Store
from tests.contracts.ledger_kit import HOLD, NOBODY, SECRETS, Clock, SqlWorld, row, sql_world

ONE = Decimal(1)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[SqlWorld]:
    async with sql_world(database_url) as made:
        yield made


async def tenant_money(world: SqlWorld) -> tuple[Decimal, Decimal]:
    """What acme has spent and reserved."""
    account = await world.admin_service.balance("tenant:acme")
    return account.spent, account.reserved


async def test_a_key_is_shown_once_and_its_file_never_holds_it(sqlite_url: str) -> None:
    async with sql_world(sqlite_url) as world:
        who = await world.caller()
        await world.settle(who, "a", "1")
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    (key,) = world.keys
    assert key.startswith("sk-")
    assert not [path for path in folder.iterdir() if key[7:].encode() in path.read_bytes()]


# -- callers who leave -----------------------------------------------------------------------------


async def test_a_caller_who_leaves_while_reserving_leaves_nothing_reserved(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=Decimal(100)))
    for n in range(50):
        task = asyncio.create_task(world.reserve(who, f"call-{n}"))
        for _ in range(n % 5):
            await asyncio.sleep(0.0005)  # before it starts, while it runs, and after
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, Reservation):
            await world.settle(who, result.id)
    await world.ledger._writes.close()
    assert await tenant_money(world) == (0, 0)


async def test_a_caller_who_leaves_while_narrowing_keeps_the_reservation_until_it_is_settled(world: SqlWorld) -> None:
    who = await world.caller()
    await world.reserved(who, "a")
    task = asyncio.create_task(world.narrow(who, "a", cost="0.5"))
    await asyncio.sleep(0)
    task.cancel()
    await world.ledger._writes.close()
    assert await tenant_money(world) in {(0, ONE), (0, Decimal("0.5"))}
    await world.settle(who, "a", "0.25")
    assert await tenant_money(world) == (Decimal("0.25"), 0)


async def test_a_settlement_is_done_though_its_caller_leaves(world: SqlWorld) -> None:
    who = await world.caller()
    await world.reserved(who, "a")
    task = asyncio.create_task(world.settle(who, "a", "0.5"))
    await asyncio.sleep(0)
    task.cancel()
    await world.ledger._writes.close()
    assert await tenant_money(world) == (Decimal("0.5"), 0)


async def test_the_same_call_many_times_at_once_is_reserved_and_billed_once(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=ONE))
    await asyncio.gather(*(world.reserved(who, "a") for _ in range(20)))
    await asyncio.gather(*(world.settle(who, "a", "0.5") for _ in range(20)))
    assert await tenant_money(world) == (Decimal("0.5"), 0)
    assert ["call"] == [one.kind for one in await world.records() if one.subject == "a"]


async def test_a_call_settled_after_its_reservation_lapsed_is_billed_once(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=ONE))
    await world.reserved(who, "late")
    world.clock.now += HOLD
    await world.reserved(who, "after")
    await world.settle(who, "late", "0.25")
    await world.settle(who, "after", "0.5")
    assert await tenant_money(world) == (Decimal("0.75"), 0)
    await world.balanced(who)


# -- usage and its proof ---------------------------------------------------------------------------


async def test_a_usage_row_comes_back_as_it_was_written_newest_first(world: SqlWorld) -> None:
    who = await world.caller(project=Terms())
    odd = {"tier": None, "ttft": None, "model_id": None, "batch": True, "goods": Decimal("1e-9")}
    rows = [row(f"call-{n}", who, f"0.00000000{n}", tokens=n, created=n, **odd) for n in range(5)]
    await asyncio.gather(*(world.ledger.settle(each) for each in rows))
    assert [replace(each, trail={}) for each in rows[:1:-1]] == await world.admin_service.usage_rows("acme", limit=3)
    assert await world.admin_service.usage_rows("nobody") == []


async def test_every_settled_call_is_in_its_tenants_chain_as_it_was_billed(world: SqlWorld) -> None:
    who = await world.caller()
    billed = row("a", who, "0.000000007", tokens=3, trail={"guard": {"risk": 0.25}, "scrub": {"types": {"EMAIL": 1}}})
    world.clock.now += 5
    await world.ledger.settle(billed)
    record = (await world.records())[-1]
    assert ("call", who.key_id, "a", world.clock.now) == (record.kind, record.actor, record.subject, record.at)
    said = orjson.loads(record.data)
    assert {"row": values(billed), "trail": billed.trail} == said
    (stored,) = await world.rows(usage)
    assert said["row"] == stored._asdict()
    assert {field.name for field in fields(UsageRow)} - {"trail"} == said["row"].keys()


async def test_a_batch_of_many_tenants_leaves_each_chain_whole_and_in_order(world: SqlWorld) -> None:
    callers = [await world.caller(name=f"tenant-{n}") for n in range(5)]
    made = [len(await world.records(who.tenant)) for who in callers]
    calls = [world.settle(callers[n % 5], f"call-{n:03}", "0.01") for n in range(200)]
    await asyncio.gather(*calls)
    for start, who in zip(made, callers, strict=True):
        subjects = [record.subject for record in (await world.records(who.tenant))[start:]]
        assert subjects == sorted(subjects)
        assert len(subjects) == 40


async def test_two_gateways_write_one_chain_together(world: SqlWorld, database_url: str) -> None:
    who = await world.caller()
    async with sql_world(database_url, world.clock) as other:
        both = [each.settle(who, f"call-{n}", "0.01") for n in range(30) for each in (world, other)]
        await asyncio.gather(*both)
    assert len({one.subject for one in await world.records() if one.kind == "call"}) == 30
    assert await tenant_money(world) == (Decimal("0.3"), 0)


async def test_a_refused_call_of_nobodys_is_recorded(world: SqlWorld) -> None:
    await world.settle(NOBODY, "a")
    assert ["anonymous"] == [used.tenant for used in await world.admin_service.usage_rows()]
    assert ["a"] == [record.subject for record in await world.records("anonymous")]
    assert (await world.denied(NOBODY, "b")).reason == "budget"


async def test_one_whose_tenant_there_never_was_reserves_nothing_and_leaves_no_trace(world: SqlWorld) -> None:
    assert (await world.denied(NOBODY, "a", cost="0")).reason == "budget"
    assert await world.admin_service.tenants() == []


async def test_text_that_no_database_takes_is_written_with_its_faults_marked(world: SqlWorld) -> None:
    who = await world.caller()
    trail = {"risk": float("nan"), "labels": {"x"}, "odd": "a\0b"}
    await world.settle(who, "a", model="a\0b\ud800", trail=trail)
    (used,) = await world.admin_service.usage_rows()
    assert used.model == "a\ufffdb?"
    said = orjson.loads((await world.records())[-1].data)
    assert ({"risk": None, "labels": ["x"], "odd": "a\0b"}, "a\ufffdb?") == (said["trail"], said["row"]["model"])


async def test_an_operation_the_database_cannot_take_fails_alone(world: SqlWorld) -> None:
    who = await world.caller(tenant=Terms(budget=Decimal(10)))
    asked = [world.reserve(who, f"call-{n}", tokens=2**80 if n == 1 else 10) for n in range(3)]
    good, bad, also_good = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(good, Reservation)
    assert isinstance(bad, Exception)
    assert isinstance(also_good, Reservation)
    assert await tenant_money(world) == (0, 2)


@pytest.mark.parametrize(
    "change",
    [update(usage).values(cost=0), delete(usage), update(audit).values(data="{}")],
    ids=["change usage", "delete usage", "change the audit log"],
)
async def test_what_was_billed_and_recorded_is_never_changed(world: SqlWorld, change: object) -> None:
    who = await world.caller()
    await world.settle(who, "a", "1")
    with pytest.raises(LedgerError, match="rows of this table are never changed"):
        await world.ledger.store.write(lambda connection: connection.execute(change))  # type: ignore[call-overload]
    assert [ONE] == [used.cost for used in await world.admin_service.usage_rows()]
    await world.records()


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["mysql://u:secret@host/db", "sqlite://", "sqlite:///:memory:", "ledger.db"])
def test_an_unusable_url_is_refused_with_the_choices_and_not_repeated(url: str) -> None:
    with pytest.raises(LedgerError, match=r"choose sqlite:///.* or postgresql://") as caught:
        SqlLedger(url, SECRETS)
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=rf"{tmp_path}/file/state .*give this user write access"):
        SqlLedger(f"sqlite:///{tmp_path}/file/state/ledger.db", SECRETS)


async def test_a_path_that_is_no_database_file_is_named(tmp_path: Path) -> None:
    async with sql_world(f"sqlite:///{tmp_path}") as world:
        with pytest.raises(LedgerError, match=rf"{tmp_path} cannot be opened"):
            await world.settle(NOBODY, "a")
        assert await world.ledger.ready() is False


async def test_a_lock_that_stays_is_waited_for_and_then_named(sqlite_url: str) -> None:
    async with sql_world(sqlite_url, patience=1) as world:
        who = await world.caller()
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="stayed locked by another process"):
            await world.reserve(who, "a")
        waiting = asyncio.create_task(world.reserve(who, "b"))
        await asyncio.sleep(0.05)
        other.execute("ROLLBACK")
        assert isinstance(await waiting, Reservation)
        other.close()


async def test_a_full_disk_is_named_and_nothing_is_half_written(sqlite_url: str) -> None:
    async with sql_world(sqlite_url) as world:
        who = await world.caller(tenant=Terms(budget=ONE))
        before = await world.records()
        engine, _ = world.ledger.store._database._lanes["IMMEDIATE"]  # type: ignore[attr-defined]
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
        with pytest.raises(LedgerError, match=r"is full\. Free space"):
            await world.settle(who, "a", "1", trail={"x": "y" * 100_000})
        assert await world.admin_service.usage_rows() == []
        assert await tenant_money(world) == (0, 0)
        assert (before, []) == (await world.records(), await world.rows(notices))


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    async with sql_world("postgresql://u:secret@127.0.0.1:1/db") as world:
        assert await world.ledger.ready() is False
        with pytest.raises(LedgerError, match=r"127\.0\.0\.1:1/db does not answer") as caught:
            await world.settle(NOBODY, "a")
        assert "secret" not in str(caught.value)


async def test_what_the_server_says_at_the_door_is_passed_on(postgres_url: str) -> None:
    async with sql_world(f"{postgres_url}_missing") as world:
        with pytest.raises(LedgerError, match=r"refused: database .* does not exist"):
            await world.settle(NOBODY, "a")


async def test_connections_that_the_server_cut_are_replaced_unseen(postgres_url: str) -> None:
    async with sql_world(postgres_url) as world:
        who = await world.caller(tenant=Terms(budget=ONE))
        await world.reserved(who, "a")
        axe = await asyncpg.connect(postgres_url)
        await axe.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'penstock'")
        await axe.close()
        await world.settle(who, "a", "0.5")
        assert await tenant_money(world) == (Decimal("0.5"), 0)
        await world.records()


async def test_a_ledger_takes_a_store_that_others_share(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    ledger = SqlLedger(store, SECRETS, Clock())
    await ledger.settle(row("a", NOBODY))
    assert await store.read(lambda connection: len(connection.execute(usage.select()).all())) == 1
    await ledger.close()
