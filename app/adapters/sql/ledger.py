"""The Ledger port on SQL: who calls, what is set aside, what was billed. admit, settle, CLI -> [ledger] -> database.

Right over many gateways on one database. Within a gateway, calls that wait together share a transaction (batcher).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, select

from app.adapters.sql import admin, database
from app.adapters.sql.admin import Found, Key, Tenant, Terms
from app.adapters.sql.batcher import Batcher
from app.adapters.sql.books import Op, Reserve, Settle
from app.adapters.sql.errors import LedgerError, outage
from app.adapters.sql.migrations import migrate
from app.adapters.sql.schema import tenants, to_nano
from app.adapters.sql.transactions import apply
from app.ports import Denied, Principal, Reservation, UsageRow

__all__ = ["LedgerError", "SqlLedger", "Terms"]

T = TypeVar("T")
_REMEMBER = 0.9  # seconds: with the look-up itself, a disabled key is dead everywhere within one
_KNOWN = 10_000  # keys remembered, right and wrong ones alike: guessing fills no memory
_LONGEST = 512  # characters of a key


class SqlLedger:
    """The ledger on SQLite or PostgreSQL. Opens, and brings the tables up to date, at its first use.

    Every method but `ready` raises LedgerError, a sentence for the operator, when the database can't do it.
    """

    def __init__(
        self, url: str, clock: Callable[[], float] = time.time, *, hold: float = 900.0, patience: float = 5.0
    ) -> None:
        """url: sqlite:///folder/ledger.db or postgresql://user:password@host/name. clock: Unix seconds.

        hold: seconds until a reservation that nobody settled is released; longer than any call may take.
        patience: seconds to wait for a lock or a connection. Raises LedgerError for an unusable url or folder.
        """
        self._url = database.parse(url)
        self._database = database.connect(self._url, patience)
        self._clock = clock
        self._hold = hold
        self._opening = asyncio.Lock()
        self._opened = False
        self._writes: Batcher[Op, Reservation | Denied | None] = Batcher(self._apply, abandoned=self._abandoned)
        self._lookups: Batcher[str, Found | None] = Batcher(self._look_up)
        self._known: OrderedDict[str, tuple[float, Found | None]] = OrderedDict()

    # -- the port --------------------------------------------------------------------------------

    async def identify(self, key: str) -> Principal | None:
        """Return the live key's owner, or None. Remembers its answer for 0.9 s."""
        if len(key) > _LONGEST:
            return None
        hashed = admin.digest(key)
        until, found = self._known.get(hashed, (0.0, None))
        if until <= self._clock():
            found = await self._lookups.submit(hashed)
        if found is None or (found.expires is not None and found.expires <= self._clock()):
            return None
        return found.who

    async def reserve(self, who: Principal, call_id: str, tokens: int, cost: Decimal) -> Reservation | Denied:
        """Set the worst case aside, atomically over all gateways, or say why not; a denied call takes nothing.

        The same call again, while it is held, is the same reservation. When the caller goes away, it is released.
        """
        result = await self._writes.submit(Reserve(call_id, who, tokens, to_nano(cost)))
        if result is None:
            raise AssertionError
        return result

    async def settle(self, reservation: Reservation | None, row: UsageRow) -> None:
        """Bill the row, once, and release the reservation, also one that expired. Done even if the caller goes away."""
        await self._writes.submit(Settle((row.tenant, row.key_id), reservation, row))

    async def ready(self) -> bool:
        """Whether the database answers. Never raises."""
        try:
            await self._read(lambda connection: connection.execute(select(tenants.c.id).limit(1)).first())
        except Exception:  # noqa: BLE001 - whatever it is, no call could be billed
            return False
        return True

    async def close(self) -> None:
        """Finish what was asked and let go of the database."""
        await self._writes.close()
        await self._lookups.close()
        await self._database.close()

    # -- for the operator ------------------------------------------------------------------------

    async def ensure_tenant(self, tenant: str, *, name: str | None = None, budget: Decimal | None = None) -> None:
        """Create the tenant; one that exists stays as it is. budget: currency units; None for no budget."""
        await self._write(partial(admin.ensure_tenant, tenant=tenant, name=name or tenant, budget=budget))

    async def set_budget(self, tenant: str, budget: Decimal | None) -> None:
        """Change the tenant's budget: currency units, over all time; None for no budget."""
        await self._write(partial(admin.set_budget, tenant=tenant, budget=budget))

    async def tenants(self) -> list[Tenant]:
        """Return every tenant with its money."""
        return await self._read(admin.list_tenants)

    async def create_key(self, tenant: str, terms: Terms | None = None) -> str:
        """Return a new key, `sk-...`: the only time it can be seen."""
        make = partial(admin.create_key, tenant=tenant, terms=terms or Terms(), now=self._clock())
        return await self._write(make)

    async def ensure_key(self, key: str, tenant: str, terms: Terms | None = None) -> None:
        """Make this very key live under these terms (a development key); a disabled one stays disabled."""
        await self._write(partial(admin.ensure_key, key=key, tenant=tenant, terms=terms or Terms(), now=self._clock()))
        self._known.pop(admin.digest(key), None)

    async def disable_key(self, key_id: str) -> None:
        """Stop the key: here at once, in every other gateway within a second."""
        await self._write(partial(admin.disable_key, key_id=key_id))
        self._known.clear()

    async def keys(self, tenant: str | None = None) -> list[Key]:
        """Return the keys, without the keys, of one tenant or all."""
        return await self._read(partial(admin.list_keys, tenant=tenant))

    async def usage(self, tenant: str | None = None, limit: int = 100) -> list[UsageRow]:
        """Return the last `limit` calls, newest first, of one tenant or all."""
        return await self._read(partial(admin.list_usage, tenant=tenant, limit=limit))

    # -- how -------------------------------------------------------------------------------------

    async def _apply(self, ops: Sequence[Op]) -> Sequence[Reservation | Denied | BaseException | None]:
        try:
            return await self._write(lambda connection: apply(connection, ops, self._clock(), self._hold))
        except Exception as error:
            if len(ops) == 1 or (error.__cause__ and outage(error.__cause__)):
                raise
        # One operation the database won't take must not fail the others that came with it.
        alone = [await asyncio.gather(self._apply([op]), return_exceptions=True) for op in ops]
        return [result if isinstance(result, BaseException) else result[0] for (result,) in alone]

    def _abandoned(self, op: Op, result: Reservation | Denied | None) -> bool:
        if isinstance(op, Reserve) and isinstance(result, Reservation):
            release = Settle(op.owner, result, None)
            self._writes.post(release, asyncio.get_running_loop().create_future())
        return isinstance(op, Reserve)

    async def _look_up(self, hashes: Sequence[str]) -> Sequence[Found | None]:
        asked = self._clock()
        found = await self._read(lambda connection: admin.look_up(connection, hashes))
        for hashed in hashes:
            self._known[hashed] = (asked + _REMEMBER, found.get(hashed))
            self._known.move_to_end(hashed)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return [found.get(hashed) for hashed in hashes]

    async def _write(self, work: Callable[[Connection], T]) -> T:
        await self._open()
        return await database.persist(self._url, lambda: self._database.write(work))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        await self._open()
        return await database.persist(self._url, lambda: self._database.read(work))

    async def _open(self) -> None:
        if self._opened:
            return
        async with self._opening:
            if not self._opened:
                await database.persist(self._url, lambda: asyncio.to_thread(migrate, self._url))
                self._opened = True
