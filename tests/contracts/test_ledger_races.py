"""Many gateways on one database, and any order of events: money is never lost, made, or left reserved."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, func, select

from app.adapters.sql import admin
from app.adapters.sql.books import Op, Reserve, Settle
from app.adapters.sql.database import parse, sqlite_engine
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.migrations import migrate
from app.adapters.sql.schema import reservations, tenants, usage
from app.adapters.sql.transactions import apply
from app.ports import Principal, Reservation
from tests.contracts.ledger_kit import START, row

ROOT = Path(__file__).parents[2]


async def hammer(url: str, processes: int, *numbers: int) -> Counter[str]:
    """Run so many gateways at once; return the sum of what they saw."""
    command = [sys.executable, "-m", "tests.contracts.hammer", url, *map(str, numbers)]
    running = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        for _ in range(processes)
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in running))
    assert [0] * processes == [process.returncode for process in running]
    return sum((Counter(json.loads(out)) for out, _ in outputs), Counter())


async def money(url: str) -> tuple[Decimal, Decimal, Decimal]:
    """What is spent, what is reserved, and the sum of all usage."""
    ledger = SqlLedger(url)
    (tenant,) = await ledger.tenants()
    used = sum((used.cost for used in await ledger.usage(limit=1_000_000)), Decimal(0))
    await ledger.close()
    return tenant.spent, tenant.reserved, used


async def prepare(url: str, budget: str | None) -> None:
    ledger = SqlLedger(url)
    await ledger.ensure_tenant("acme", budget=None if budget is None else Decimal(budget))
    await ledger.close()


async def test_four_gateways_spend_a_small_budget_and_not_a_nano_more(database_url: str) -> None:
    await prepare(database_url, "1.5")
    seen = await hammer(database_url, 4, 200, 0, 0)
    spent, reserved, used = await money(database_url)
    assert (seen["errors"], seen["granted"] + seen["budget"]) == (0, 800)
    assert seen["budget"] > 0
    assert spent == used <= Decimal("1.5")
    assert reserved == 0


@pytest.mark.parametrize(("rpm", "tpm", "reason"), [(130, 0, "requests"), (0, 1300, "tokens")])
async def test_four_gateways_grant_a_keys_limit_exactly(database_url: str, rpm: int, tpm: int, reason: str) -> None:
    await prepare(database_url, None)
    seen = await hammer(database_url, 4, 100, rpm, tpm)
    spent, reserved, used = await money(database_url)
    assert Counter({"granted": 130, reason: 270, "errors": 0}) == seen
    assert (used, Decimal(0)) == (spent, reserved)


async def test_gateways_that_start_together_make_the_tables_once(database_url: str) -> None:
    ledgers = [SqlLedger(database_url) for _ in range(6)]
    assert await asyncio.gather(*(ledger.ready() for ledger in ledgers)) == [True] * 6
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


# -- any order of events ---------------------------------------------------------------------------

_numbers = count()
_step = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 5), st.integers(0, 400)),  # which call, cost in nano
    st.tuples(st.just("settle"), st.integers(0, 5), st.integers(0, 400)),
    st.tuples(st.just("leave"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("wait"), st.just(0), st.integers(1, 70)),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    url = parse(f"sqlite:///{tmp_path_factory.mktemp('races')}/ledger.db")
    migrate(url)
    made = sqlite_engine(url, "IMMEDIATE", 5)
    yield made
    made.dispose()


def totals(connection: Connection, tenant: str) -> tuple[int, int, int, int]:
    """A tenant's spent and reserved, and the sums of usage and reservations they must equal."""
    spent, reserved = connection.execute(
        select(tenants.c.spent, tenants.c.reserved).where(tenants.c.id == tenant)
    ).one()
    used = connection.scalar(select(func.coalesce(func.sum(usage.c.cost), 0)).where(usage.c.tenant == tenant))
    held = select(func.coalesce(func.sum(reservations.c.cost), 0)).where(reservations.c.tenant == tenant)
    return spent, used or 0, reserved, connection.scalar(held) or 0


@settings(max_examples=150, deadline=None)
@given(batches=st.lists(st.lists(_step, min_size=1, max_size=6), max_size=12))
def test_in_any_order_what_is_spent_is_what_was_used_and_nothing_stays_reserved(
    engine: Engine, batches: list[list[tuple[str, int, int]]]
) -> None:
    tenant, now = f"tenant-{next(_numbers)}", START
    who = Principal(tenant, f"key-{tenant}", frozenset(), 50, 500)
    held: dict[str, Reservation] = {}

    def run(ops: list[Op]) -> None:
        with engine.begin() as connection:
            results = apply(connection, ops, now, hold=60)
        held.update((got.id, got) for got in results if isinstance(got, Reservation))
        with engine.connect() as connection:
            spent, used, reserved, kept = totals(connection, tenant)
        assert (used, kept) == (spent, reserved)

    with engine.begin() as connection:
        admin.ensure_tenant(connection, tenant, tenant, Decimal("0.000001"))
    for steps in batches:
        ops: list[Op] = []
        for kind, which, amount in steps:
            id_ = f"{tenant}-{which}"
            if kind == "reserve":
                ops.append(Reserve(id_, who, 20, amount))
            elif kind == "settle":
                billed = row(id_, who, str(Decimal(amount).scaleb(-9)), tokens=10)
                ops.append(Settle((tenant, who.key_id), held.get(id_), billed))
            elif kind == "leave" and id_ in held:
                ops.append(Settle((tenant, who.key_id), held[id_], None))
            else:
                now += amount
        if ops:
            run(ops)
    crashed = f"{tenant}-0"  # one gateway never settles
    done = [Settle((tenant, who.key_id), kept, row(id_, who)) for id_, kept in held.items() if id_ != crashed]
    run([*done, Settle((tenant, who.key_id), None, row(f"{tenant}-before", who))])
    with engine.connect() as connection:
        left = connection.scalars(select(reservations.c.id).where(reservations.c.tenant == tenant)).all()
    assert set(left) <= {crashed}
    now += 61
    run([Settle((tenant, who.key_id), None, row(f"{tenant}-after", who))])
    with engine.connect() as connection:
        assert totals(connection, tenant)[2:] == (0, 0)
