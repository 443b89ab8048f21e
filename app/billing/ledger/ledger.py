"""The Ledger port on SQL: what is set aside, what was billed. admit, settle -> [ledger] -> store.

Right over many gateways on one database. Within a gateway, calls that wait together share a transaction (batcher).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from sqlalchemy import select

from app.billing.ledger.decisions import Op, Reserve, Settle
from app.billing.ledger.transactions import Rules, apply, release_expired
from app.core.ports import AbusePolicy, Denied, Principal, Reservation, UsageRow
from app.db.errors import outage
from app.db.group_commit import Batcher
from app.db.schema import from_nano, tenants, to_nano
from app.db.store import Store
from app.installation.secrets import Secrets


class SqlLedger:
    """The ledger on SQLite or PostgreSQL.

    Every method but `ready` raises LedgerError, a sentence for the operator, when the database can't do it.
    """

    def __init__(
        self, store: Store | str, secrets: Secrets, clock: Callable[[], float] = time.time, *, hold: float = 900.0
    ) -> None:
        """store: or its URL. clock: Unix seconds.

        hold: seconds until a reservation that nobody settled is released; longer than any call may take.
        """
        self.store = Store(store) if isinstance(store, str) else store
        self._clock = clock
        self._rules = Rules(hold, secrets.audit_key)
        self._writes: Batcher[Op, Reservation | Denied | None] = Batcher(self._apply, abandoned=self._abandoned)

    # -- the port --------------------------------------------------------------------------------

    async def reserve(
        self, who: Principal, call_id: str, tokens: int, cost: Decimal, names: frozenset[str] = frozenset()
    ) -> Reservation | Denied:
        """Set the worst case aside, atomically over all gateways, or say why not; a denied call takes nothing.

        The same call again, while it is held, is the same reservation. When the caller goes away, it is released.
        """
        return await self._reserve(Reserve(call_id, who, tokens, to_nano(cost), names))

    async def narrow(
        self, who: Principal, call_id: str, tokens: int, cost: Decimal, names: frozenset[str]
    ) -> Reservation | Denied:
        """Take this call's reservation to `cost` and `names`, once its tier is known. Denied: it stays as it was."""
        return await self._reserve(Reserve(call_id, who, tokens, to_nano(cost), names, narrow=True))

    async def settle(self, row: UsageRow) -> None:
        """Bill the row, once, and release the call's reservation. Done even if the caller goes away."""
        await self._writes.submit(Settle(row.id, (row.tenant, row.project, row.key_id), row))

    async def ready(self) -> bool:
        """Whether the database answers. Never raises."""
        try:
            await self.store.read(lambda connection: connection.execute(select(tenants.c.id).limit(1)).first())
        except Exception:  # noqa: BLE001 - whatever it is, no call could be billed
            return False
        return True

    # -- for the gateway -------------------------------------------------------------------------

    def watch(self, abuse_policy: AbusePolicy, hold: float) -> None:
        """What settling a call may set off from now on. hold: seconds until an unsettled reservation is released."""
        self._rules = replace(self._rules, abuse_policy=abuse_policy, hold=hold)

    async def sweep(self) -> tuple[int, Decimal]:
        """Release every expired reservation of any tenant; how many are held after that, and their money."""
        calls, nano = await self.store.write(lambda connection: release_expired(connection, self._clock(), self._rules))
        return calls, from_nano(nano)

    async def close(self) -> None:
        """Finish what was asked and let go of the database."""
        await self._writes.close()
        await self.store.close()

    # -- how -------------------------------------------------------------------------------------

    async def _reserve(self, op: Reserve) -> Reservation | Denied:
        result = await self._writes.submit(op)
        if result is None:
            raise AssertionError
        return result

    async def _apply(self, ops: Sequence[Op]) -> Sequence[Reservation | Denied | BaseException | None]:
        try:
            return await self.store.write(lambda connection: apply(connection, ops, self._clock(), self._rules))
        except Exception as error:
            if len(ops) == 1 or (error.__cause__ and outage(error.__cause__)):
                raise
        # One operation the database won't take must not fail the others that came with it.
        alone = [await asyncio.gather(self._apply([op]), return_exceptions=True) for op in ops]
        return [result if isinstance(result, BaseException) else result[0] for (result,) in alone]

    def _abandoned(self, op: Op, result: Reservation | Denied | None) -> bool:
        # A narrowed reservation is its call's still: settle releases it.
        if isinstance(op, Reserve) and isinstance(result, Reservation) and not op.narrow:
            who = (op.who.tenant, op.who.project, op.who.key_id)
            self._writes.post(Settle(op.id, who, None), asyncio.get_running_loop().create_future())
        return isinstance(op, Reserve)
