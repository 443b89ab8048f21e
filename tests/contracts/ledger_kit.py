"""What the ledger's tests share: a clock that stands still, rows to settle, and callers in a ledger of each kind."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from app.audit.records import GENESIS, Record, sign
from app.billing.ledger.balances import Balance
from app.billing.ledger.ledger import SqlLedger
from app.core.ports import Denied, Ledger, Principal, Reservation, UsageRow
from app.core.terms import Terms
from app.db.schema import audit, chains, reservations, to_nano, usage
from app.db.store import Store
from app.installation.secrets import Secrets
from app.tenancy.admin import AdminService
from app.tenancy.authenticator import Authenticator
from app.testing.fakes import FakeAuthenticator, FakeLedger

START = 1_700_000_000.0
MIDNIGHT = START + 6_400
"""The next one, UTC."""
SECRETS = Secrets("no secret at all, but as long as one must be")
HOLD = 60.0
NOBODY = Principal("anonymous", "none")


@dataclass
class Clock:
    """Unix seconds that pass only when told."""

    now: float = START

    def __call__(self) -> float:
        return self.now


def row(id_: str, who: Principal, cost: str = "0", tokens: int = 0, **changes: Any) -> UsageRow:
    """A settled call of `tokens` prompt tokens."""
    made = UsageRow(
        id=id_,
        created=START,
        tenant=who.tenant,
        key_id=who.key_id,
        model="auto",
        tier="small",
        pool="pool",
        region="eu",
        outcome="ok",
        refused_by=None,
        prompt_tokens=tokens,
        cached_tokens=0,
        completion_tokens=0,
        cost=Decimal(cost),
        price_list="default",
        ttft=0.1,
        latency=0.2,
        trail={"guard": {"risk": 0.1}},
        project=who.project,
        model_id="model-a",
        input_cost=Decimal(cost),
    )
    return replace(made, **changes)


@dataclass
class Calls:
    """Any ledger, and what is said of the calls on it. Costs in currency units."""

    ledger: Ledger
    clock: Clock

    async def reserve(
        self, who: Principal, id_: str, tokens: int = 10, cost: str = "1", names: Sequence[str] = ()
    ) -> Reservation | Denied:
        return await self.ledger.reserve(who, id_, tokens, Decimal(cost), frozenset(names))

    async def reserved(self, who: Principal, id_: str, **asked: Any) -> Reservation:
        got = await self.reserve(who, id_, **asked)
        assert isinstance(got, Reservation), got
        return got

    async def denied(self, who: Principal, id_: str, **asked: Any) -> Denied:
        got = await self.reserve(who, id_, **asked)
        assert isinstance(got, Denied), got
        return got

    async def narrow(
        self, who: Principal, id_: str, tokens: int = 10, cost: str = "1", names: Sequence[str] = ()
    ) -> Reservation | Denied:
        return await self.ledger.narrow(who, id_, tokens, Decimal(cost), frozenset(names))

    async def settle(self, who: Principal, id_: str, cost: str = "0", tokens: int = 0, **changes: Any) -> None:
        await self.ledger.settle(row(id_, who, cost, tokens, **changes))


@dataclass
class FakeWorld(Calls):
    """The fake ledger, and who calls on it."""

    ledger: FakeLedger
    authenticator: FakeAuthenticator = field(default_factory=FakeAuthenticator)

    async def caller(
        self, key: Terms | None = None, *, project: Terms | None = None, tenant: Terms | None = None
    ) -> Principal:
        """The owner of a live key under these terms, in a project where one has terms."""
        limits = [*(tenant or Terms()).limits("tenant:acme"), *(key or Terms()).limits("key:key_1")]
        if project is not None:
            limits += project.limits("project:web")
        if tenant is not None and tenant.budget is not None:
            self.ledger.balances["acme"] = tenant.budget
        made = Principal("acme", "key_1", "web" if project is not None else "", limits=tuple(limits))
        self.authenticator.keys["sk-1"] = made
        who = await self.authenticator.identify("sk-1")
        assert who is not None
        return who


@dataclass
class SqlWorld(Calls):
    """A ledger and its office on a real database."""

    ledger: SqlLedger
    authenticator: Authenticator
    admin_service: AdminService
    keys: list[str] = field(default_factory=list)

    async def caller(
        self,
        key: Terms | None = None,
        *,
        project: Terms | None = None,
        tenant: Terms | None = None,
        name: str = "acme",
    ) -> Principal:
        """The owner of a new live key, the last of `keys`, under these terms, in a project where one has terms."""
        if name not in [one.id for one in await self.admin_service.tenants()]:
            await self.admin_service.create_tenant(name, terms=tenant, actor="test")
        if project is not None:
            await self.admin_service.create_project(name, "web", terms=project, actor="test")
        about = {"terms": key or Terms()}
        _, made = await self.admin_service.create_key(
            name,
            about,  # type: ignore[arg-type]
            project="web" if project is not None else "",
            actor="test",
        )
        self.keys.append(made)
        return await self.again()

    async def again(self, which: int = -1) -> Principal:
        """Whose the key is now."""
        self.authenticator.forget()
        who = await self.authenticator.identify(self.keys[which])
        assert who is not None
        return who

    async def balances(self, who: Principal) -> list[Balance]:
        """The accounts that the caller's calls are charged to, the widest first."""
        return [await self.admin_service.balance(owner) for owner in who.owners]

    async def rows(self, table: Table, *where: Any) -> Sequence[Row[Any]]:
        """Of any table."""
        return await self.ledger.store.read(lambda connection: connection.execute(select(table).where(*where)).all())

    async def sums(self, who: Principal) -> list[tuple[int, int]]:
        """By account, the widest first: nano in all usage rows, and in all reservations."""
        columns = ("tenant", who.tenant), ("project", who.project), ("key_id", who.key_id)
        tables = usage, reservations

        def work(connection: Connection) -> list[tuple[int, int]]:
            found = []
            for name, value in columns:
                sums = [select(func.sum(table.c.cost)).where(table.c[name] == value) for table in tables]
                spent, reserved = (int(connection.scalar(one) or 0) for one in sums)
                found.append((spent, reserved))
            return found if who.project else [found[0], found[2]]

        return await self.ledger.store.read(work)

    async def balanced(self, who: Principal) -> None:
        """Fails unless every account of the caller's says what its rows sum up to, to the nano."""
        said = [(to_nano(one.spent), to_nano(one.reserved)) for one in await self.balances(who)]
        assert await self.sums(who) == said

    async def records(self, chain: str = "acme") -> list[Record]:
        """A chain's records in their order. Fails where one is missing, moved or changed."""
        found = [Record(*one) for one in await self.rows(audit, audit.c.chain == chain)]
        found.sort(key=lambda record: record.seq)
        assert list(range(1, len(found) + 1)) == [record.seq for record in found]
        before = GENESIS
        for record in found:
            assert sign(SECRETS.audit_key, before, record) == record.mac
            before = record.mac
        heads = await self.rows(chains, chains.c.id == chain)
        assert [(head.seq, head.mac) for head in heads] == ([(len(found), before)] if found else [])
        return found


World = FakeWorld | SqlWorld


@contextlib.asynccontextmanager
async def sql_world(
    url: str, clock: Clock | None = None, *, hold: float = HOLD, patience: float = 5.0
) -> AsyncIterator[SqlWorld]:
    """A ledger on the database at `url`, closed in the end."""
    time = clock or Clock()
    store = Store(url, patience)
    ledger = SqlLedger(store, SECRETS, time, hold=hold)
    authenticator = Authenticator(store, time)
    yield SqlWorld(ledger, time, authenticator, AdminService(store, SECRETS, time, changed=authenticator.forget))
    await authenticator.close()
    await ledger.close()


@contextlib.asynccontextmanager
async def world_of(kind: str, url: str) -> AsyncIterator[World]:
    """kind: `fake`, or any other for the database at `url`."""
    if kind == "fake":
        clock = Clock()
        yield FakeWorld(FakeLedger(clock=clock), clock)
        return
    async with sql_world(url) as world:
        yield world
