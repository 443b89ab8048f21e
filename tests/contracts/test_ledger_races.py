"""Many gateways on one database, and any order of events: money is never lost, made, or left reserved."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, func, select

from app.billing.ledger import balances
from app.billing.ledger.decisions import Op, Reserve, Settle
from app.billing.ledger.ledger import SqlLedger
from app.billing.ledger.transactions import Rules, apply
from app.core.ports import Principal, Reservation
from app.core.terms import Terms
from app.db.database import parse, sqlite_engine
from app.db.migrations import migrate
from app.db.schema import accounts, buckets, reservations, usage
from app.tenancy import projects, tenants
from tests.contracts.ledger_kit import HOLD, SECRETS, START, SqlWorld, row, sql_world
from tests.examples import examples

ROOT = Path(__file__).parents[2]
LEVELS = ("tenant", "project", "key")


async def hammer(url: str, keys: Sequence[str], calls: int, name: str = "auto") -> Counter[str]:
    """Run a gateway for each key at once; return the sum of what they saw, and of `most` the greatest."""
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.contracts.hammer", url, key, str(calls), name),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        for key in keys
    ]
    outputs = [json.loads((await process.communicate())[0]) for process in running]
    assert [0] * len(keys) == [process.returncode for process in running]
    seen: Counter[str] = Counter()
    for out in outputs:
        seen.update(out)
    seen["most"] = max(out.get("most", 0) for out in outputs)
    return seen


async def callers(world: SqlWorld, level: str, terms: Terms) -> tuple[list[str], list[Principal]]:
    """Four keys that share what is said of `level`, and their owners: of `key`, four times one."""
    said = dict.fromkeys(LEVELS, Terms()) | {level: terms}
    who = [await world.caller(said["key"], project=said["project"], tenant=said["tenant"])]
    if level == "key":
        return world.keys * 4, who
    for project in ("web", "web" if level == "project" else "", "web" if level == "project" else ""):
        _, key = await world.admin_service.create_key("acme", project=project, actor="test")
        world.keys.append(key)
        who.append(await world.again())
    return world.keys, who


async def nothing_lost(world: SqlWorld, who: Sequence[Principal]) -> Decimal:
    """What the tenant has spent. Fails unless every account is the sum of its rows and nothing is left reserved."""
    for each in who:
        await world.balanced(each)
        assert [0] * len(each.owners) == [one.reserved for one in await world.balances(each)]
    assert await world.rows(reservations) == []
    records = [record.subject for record in await world.records() if record.kind == "call"]
    assert sorted(records) == sorted(used.id for used in await world.rows(usage))
    return (await world.balances(who[0]))[0].spent


@pytest.mark.parametrize("level", LEVELS)
async def test_four_gateways_spend_a_small_budget_and_not_a_nano_more(database_url: str, level: str) -> None:
    async with sql_world(database_url) as world:
        keys, who = await callers(world, level, Terms(budget=Decimal("1.1")))
        seen = await hammer(database_url, keys, 120)
        assert (seen["errors"], seen["granted"] + seen["budget"]) == (0, 480)
        assert seen["budget"] > 0
        assert seen["granted"] > 100
        assert await nothing_lost(world, who) <= Decimal("1.1")


@pytest.mark.parametrize(
    ("level", "limit", "amount"),
    [
        ("key", "requests_per_minute", 130),
        ("key", "tokens_per_day", 1300),
        ("project", "tokens_per_minute", 1300),
        ("tenant", "requests_per_day", 130),
    ],
)
async def test_four_gateways_grant_a_limit_exactly(database_url: str, level: str, limit: str, amount: int) -> None:
    async with sql_world(database_url) as world:
        keys, who = await callers(world, level, Terms.model_validate({limit: amount}))
        seen = await hammer(database_url, keys, 80)
        assert (130, 190, 0) == (seen["granted"], seen[limit.partition("_")[0]], seen["errors"])
        await nothing_lost(world, who)


@pytest.mark.parametrize("name", ["auto", "small"])
async def test_four_gateways_have_no_more_calls_on_their_way_than_allowed(database_url: str, name: str) -> None:
    terms = Terms.model_validate({"per_model": {name: {"concurrent_requests": 5}}})
    async with sql_world(database_url) as world:
        keys, who = await callers(world, "project", terms)
        seen = await hammer(database_url, keys, 60, name)
        assert (0, 240) == (seen["errors"], seen["granted"] + seen["concurrent"])
        assert seen["concurrent"] > 0
        assert 2 <= seen["most"] <= 5
        await nothing_lost(world, who)


async def test_gateways_that_start_together_make_the_tables_once(database_url: str) -> None:
    ledgers = [SqlLedger(database_url, SECRETS) for _ in range(6)]
    assert await asyncio.gather(*(ledger.ready() for ledger in ledgers)) == [True] * 6
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


# -- any order of events ---------------------------------------------------------------------------

_numbers = count()
_calls, _nano = st.integers(0, 6), st.integers(0, 400)
_step = st.one_of(
    st.tuples(st.sampled_from(["reserve", "narrow", "settle", "leave"]), _calls, _nano),
    st.tuples(st.just("wait"), st.just(0), st.integers(1, 70)),
)
TOKENS, USED = 20, 9
BUDGET = Terms(budget=Decimal("0.000001"))
LIMITS = Terms.model_validate(
    {
        "requests_per_minute": 50,
        "tokens_per_minute": 500,
        "tokens_per_day": 150,
        "requests_per_day": 30,
        "concurrent_requests": 4,
        "per_model": {"large": {"tokens_per_day": 60}},
    }
)
LOWEST = {"requests/day/*": -30, "tokens/day/*": -150, "tokens/day/large": -60}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    url = parse(f"sqlite:///{tmp_path_factory.mktemp('races')}/ledger.db")
    migrate(url)
    made = sqlite_engine(url, "IMMEDIATE", 5)
    yield made
    made.dispose()


@dataclass
class Model:
    """What a day's buckets must say, told from the operations and their results alone."""

    names: dict[str, set[str]] = field(default_factory=dict)  # call -> what its tokens are counted under
    expires: dict[str, float] = field(default_factory=dict)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)  # of the calls that ended

    def run(self, ops: Sequence[Op], results: Sequence[object], now: float, who: dict[str, Principal]) -> None:
        for id_ in [id_ for id_, until in self.expires.items() if until <= now]:
            self._end(id_, who[id_], 0)
        for op in ops:
            if isinstance(op, Settle):
                self._end(op.id, who[op.id], USED if op.row else 0)
        for op, result in zip(ops, results, strict=True):
            if isinstance(op, Reserve) and isinstance(result, Reservation):
                if op.id not in self.names:
                    self.names[op.id] = {"*"}
                    self.expires[op.id] = now + HOLD
                    self.taken.update((owner, "requests/day/*") for owner in op.owners)
                self.names[op.id] |= op.names if op.narrow else set()

    def level(self, owner: str, name: str, who: dict[str, Principal]) -> int:
        """As it is stored: what was taken, below 0."""
        kind, _, model = name.split("/")
        held = [id_ for id_, names in self.names.items() if owner in who[id_].owners and model in names]
        return -self.taken[owner, name] - (TOKENS * len(held) if kind == "tokens" else 0)

    def _end(self, id_: str, who: Principal, used: int) -> None:
        self.expires.pop(id_, None)
        for name in self.names.pop(id_, ()):
            self.taken.update(dict.fromkeys(((owner, f"tokens/day/{name}") for owner in who.owners), used))


@dataclass
class Day:
    """A tenant, a project and two keys, one of them in it; and what befalls their calls, number 0 to 7, in one day."""

    engine: Engine
    tenant: str
    now: float = START
    model: Model = field(default_factory=Model)
    who: dict[str, Principal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        outside = Principal(self.tenant, f"{self.tenant}-0")
        two = [outside, replace(outside, key_id=f"{self.tenant}-1", project=self.tenant)]
        two = [replace(p, limits=tuple(x for owner in p.owners for x in LIMITS.limits(owner))) for p in two]
        self.who = {f"{self.tenant}-call-{n}": two[n % 2] for n in range(8)}
        self.owners = sorted({owner for who in two for owner in who.owners})
        with self.engine.begin() as connection:
            tenants.make(connection, self.tenant, self.now, terms=BUDGET)
            projects.make(connection, self.tenant, self.tenant, self.now, name="", terms=BUDGET)
            for who in two:
                balances.make(connection, f"key:{who.key_id}", self.tenant, BUDGET, self.now)

    def op(self, kind: str, which: int, nano: int) -> Op:
        """One of the operations on a call."""
        id_ = f"{self.tenant}-call-{which}"
        who = self.who[id_]
        if kind in {"reserve", "narrow"}:
            names = frozenset({"large"} if kind == "narrow" else {"auto"})
            return Reserve(id_, who, TOKENS, nano, names, narrow=kind == "narrow")
        billed = row(id_, who, str(Decimal(nano).scaleb(-9)), tokens=USED) if kind == "settle" else None
        return Settle(id_, (who.tenant, who.project, who.key_id), billed)

    def run(self, ops: Sequence[Op]) -> None:
        """The operations in one transaction; then everything must be as the model says."""
        with self.engine.begin() as connection:
            results = apply(connection, ops, self.now, Rules(HOLD, SECRETS.audit_key))
        self.model.run(ops, results, self.now, self.who)
        with self.engine.connect() as connection:
            self.check(connection)

    def check(self, connection: Connection) -> None:
        """Fails where an account is not the sum of its rows, or a bucket not what its calls took."""
        for owner in self.owners:
            kind, _, name = owner.partition(":")
            column = "key_id" if kind == "key" else kind
            sums = (select(func.sum(table.c.cost)).where(table.c[column] == name) for table in (usage, reservations))
            spent, reserved = (connection.scalar(one) or 0 for one in sums)
            account = connection.execute(select(accounts).where(accounts.c.id == owner)).one()
            assert (spent, reserved) == (account.spent, account.reserved)
        held = connection.scalars(select(reservations.c.id).where(reservations.c.tenant == self.tenant)).all()
        assert sorted(self.model.names) == sorted(held)
        assert len(held) <= 4
        for found in connection.execute(select(buckets).where(buckets.c.owner.in_(self.owners))):
            if "/day/" in found.name:
                assert self.model.level(found.owner, found.name, self.who) == found.level
                assert found.level >= LOWEST[found.name]


@settings(max_examples=examples(120), deadline=None)
@given(batches=st.lists(st.lists(_step, min_size=1, max_size=6), max_size=12))
def test_in_any_order_every_account_and_bucket_says_what_its_calls_come_to(
    engine: Engine, batches: list[list[tuple[str, int, int]]]
) -> None:
    day = Day(engine, f"t{next(_numbers)}")
    for steps in batches:
        day.now += sum(amount for kind, _, amount in steps if kind == "wait")
        if ops := [day.op(*step) for step in steps if step[0] != "wait"]:
            day.run(ops)
    last = day.op("settle", 7, 0)
    held = [int(id_.rpartition("-")[2]) for id_ in day.model.names]
    day.run([last, *(day.op("settle", which, 0) for which in held if which)])
    assert {f"{day.tenant}-call-0"} >= day.model.names.keys()  # number 0's gateway crashed
    day.now += HOLD
    day.run([last])
    assert not day.model.names
