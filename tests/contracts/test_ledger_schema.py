"""The migrations make exactly the tables that the code uses, carry over what is there, and leave it be after that."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from app.audit.log import AuditLog
from app.core.ports import Limit
from app.core.refusals import LedgerError
from app.db.database import connect, parse
from app.db.migrations import run, upgrade
from app.db.schema import buckets, metadata, reservations, usage
from app.tenancy.identity import digest
from tests.contracts.ledger_kit import SECRETS, START, sql_world

T = TypeVar("T")

NEVER_SEEN: dict[str, Any] = {"tier": None, "pool": None, "region": None, "refused_by": None, "ttft": None}
FIRST_VERSION: dict[str, list[dict[str, Any]]] = {
    "tenants": [
        {"id": "acme", "name": "Acme", "budget": 5_000_000_000, "spent": 3_000_000_007, "reserved": 900},
        {"id": "free", "name": "Free", "budget": None, "spent": 0, "reserved": 0},
    ],
    "keys": [
        {"id": "key_1", "tenant": "acme", "hash": digest("sk-1"), "prefix": "sk-1...", "scopes": "chat files",
         "rpm": 60, "tpm": 0, "disabled": False, "expires": START + 9, "created": START - 9},
        {"id": "key_2", "tenant": "acme", "hash": digest("sk-2"), "prefix": "sk-2...", "scopes": "",
         "rpm": 0, "tpm": 1000, "disabled": True, "expires": None, "created": START - 8},
        {"id": "key_3", "tenant": "free", "hash": digest("sk-3"), "prefix": "sk-3...", "scopes": "",
         "rpm": 0, "tpm": 0, "disabled": False, "expires": None, "created": START - 7},
    ],
    "buckets": [{"key_id": "key_1", "kind": "requests", "level": 3.5, "updated": START}],
    "reservations": [
        {"id": "open", "key_id": "key_1", "tenant": "acme", "cost": 900, "tokens": 10, "expires": START + 60}
    ],
    "usage": [
        {"id": id_, "created": START + n, "tenant": "acme", "key_id": key, "model": "auto", "outcome": "ok",
         "prompt_tokens": 7, "cached_tokens": 2, "completion_tokens": 3, "cost": cost, "price_list": "default",
         "latency": 0.5, "trail": "{}", **NEVER_SEEN}
        for n, (id_, key, cost) in enumerate([("a", "key_1", 1_000_000_007), ("b", "key_2", 2_000_000_000)])
    ],
}  # fmt: skip


async def on(url: str, work: Callable[[Connection], T]) -> T:
    """Run on the database as it is, without bringing it up to date."""
    database = connect(parse(url), 5)
    done = await database.write(work)
    await database.close()
    return done


def first_version(connection: Connection) -> None:
    """The tables of the first release, in use."""
    run(connection, target="0001")
    for table, rows in FIRST_VERSION.items():
        names = ", ".join(rows[0])
        values = ", ".join(f":{name}" for name in rows[0])
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), rows)


async def test_the_migrated_tables_are_those_of_the_schema(database_url: str) -> None:
    async with sql_world(database_url) as world:
        assert await world.ledger.ready()

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    assert await on(database_url, differences) == []


async def test_upgrading_again_keeps_what_is_there(database_url: str) -> None:
    async with sql_world(database_url) as world:
        await world.settle(await world.caller(), "a", "1")
        await asyncio.to_thread(upgrade, database_url)
        assert ["acme"] == [tenant.id for tenant in await world.admin_service.tenants()]
        assert [Decimal(1)] == [used.cost for used in await world.admin_service.usage_rows()]


def test_sqlite_is_left_in_wal_mode_so_that_readers_never_wait(sqlite_url: str) -> None:
    upgrade(sqlite_url)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_tables_that_a_newer_version_changed_are_refused_with_the_way_back(database_url: str) -> None:
    await asyncio.to_thread(upgrade, database_url)
    await on(database_url, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(LedgerError, match=r"newer version .* put back the backup"):
        await asyncio.to_thread(upgrade, database_url)
    assert ("9999",) == await on(
        database_url, lambda c: tuple(c.execute(text("SELECT version_num FROM alembic_version")).one())
    )


# -- from the first release ------------------------------------------------------------------------


async def test_money_and_budgets_of_the_first_version_are_carried_over_to_the_nano(database_url: str) -> None:
    await on(database_url, first_version)
    async with sql_world(database_url) as world:
        found = {one.id: (one.tenant, one.budget, one.spent) for one in await world.admin_service.accounts()}
        expected = {
            "tenant:acme": ("acme", Decimal(5), Decimal("3.000000007")),
            "tenant:free": ("free", None, Decimal(0)),
            "key:key_1": ("acme", None, Decimal("1.000000007")),
            "key:key_2": ("acme", None, Decimal(2)),
            "key:key_3": ("free", None, Decimal(0)),
        }
        assert expected == found
        assert {("total", 0, 0)} == {
            (one.period, one.since, one.reserved) for one in await world.admin_service.accounts("acme")
        }


async def test_keys_and_limits_of_the_first_version_are_carried_over(database_url: str) -> None:
    await on(database_url, first_version)
    async with sql_world(database_url) as world:
        one, disabled, free = [await world.authenticator.identify(key) for key in ("sk-1", "sk-2", "sk-3")]
        assert one is not None
        assert ({"chat", "files"}, "acme", "") == (one.scopes, one.tenant, one.project)
        assert one.limits == (Limit("key:key_1", "requests", "minute", 60),)
        assert free is not None
        assert (free.limits, disabled) == ((), None)
        (_, second) = await world.admin_service.keys("acme")
        assert (1000, True, "sk-2...") == (second.terms.tokens_per_minute, second.disabled, second.prefix)
        assert (None, START - 8, 0) == (second.expires, second.created, second.forgiven)
        tenant = await world.admin_service.tenant("acme")
        assert ("Acme", "unlimited", None) == (tenant.name, tenant.plan, tenant.paused_until)
        world.clock.now += 9
        assert await world.authenticator.identify("sk-1") is None


async def test_usage_of_the_first_version_keeps_its_sum_and_can_no_longer_be_changed(database_url: str) -> None:
    await on(database_url, first_version)
    async with sql_world(database_url) as world:
        rows = await world.admin_service.usage_rows("acme")
        assert [("b", Decimal(2)), ("a", Decimal("1.000000007"))] == [(used.id, used.cost) for used in rows]
        assert all(used.cost == used.input_cost + used.cached_cost + used.output_cost for used in rows)
        assert [(7, 2, 3, "", False)] * 2 == [
            (used.prompt_tokens, used.cached_tokens, used.completion_tokens, used.project, used.batch) for used in rows
        ]


async def test_calls_go_on_after_the_upgrade_and_the_audit_log_holds(database_url: str) -> None:
    await on(database_url, first_version)
    async with sql_world(database_url) as world:
        assert [[], []] == [await world.rows(table) for table in (reservations, buckets)]
        who = await world.authenticator.identify("sk-1")
        assert who is not None
        assert (await world.denied(who, "c", cost="2")).owner == "tenant:acme"
        assert (await world.reserved(who, "c", cost="1.999999993")).windows["requests"].remaining == 59
        await world.settle(who, "c", "0.5")
        await world.settle(who, "open", "0.25")  # reserved before the upgrade
        assert {"a", "b", "c", "open"} == {used.id for used in await world.rows(usage)}
        await world.balanced(who)
        assert ["c", "open"] == [record.subject for record in await world.records() if record.kind == "call"]
        assert (await AuditLog(world.ledger.store, SECRETS, world.clock).verify()).faults == ()
