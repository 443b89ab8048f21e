"""Notices and what is still to be sent of them. ledger, admin service, dispatcher -> [outbox] -> SQL.

A notice is posted in the transaction that caused it, so none is lost; later it is spread into one delivery for each
webhook that wants it; a delivery is leased to one gateway at a time until it is delivered or given up.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, exists, false, func, or_, select, tuple_, update

from app.audit.records import canonical
from app.core.ports import Notice
from app.db.schema import deliveries, notices, webhooks
from app.db.statements import upserts
from app.notifications.subscriptions import LIVE, Webhooks

ATTEMPTS = 15
_FIRST_PAUSE = 5.0

_POST = {name: new.on_conflict_do_nothing() for name, new in upserts(notices).items()}
_MAKE = {name: new.on_conflict_do_nothing() for name, new in upserts(deliveries).items()}
_IS_NEW = notices.c.spread.is_(false())
_NEW = select(notices).where(_IS_NEW).order_by(notices.c.at, notices.c.id).limit(100).with_for_update(skip_locked=True)
_SPREAD = update(notices).where(notices.c.id.in_(bindparam("ids", expanding=True))).values(spread=True)
_SHARED_LIVE = LIVE.with_for_update(read=True)  # one that is being removed gets no delivery after its removal

_KEYS = (deliveries.c.notice, deliveries.c.webhook)
_IS_DUE = deliveries.c.due <= bindparam("now")
_WAITING = select(or_(exists().where(_IS_NEW), exists().where(_IS_DUE)))
_TURN = func.row_number().over(partition_by=deliveries.c.webhook, order_by=(deliveries.c.due, deliveries.c.notice))
_QUEUE = (
    select(*_KEYS, _TURN.label("turn"))
    .where(_IS_DUE, deliveries.c.webhook.not_in(bindparam("busy", expanding=True)))
    .subquery()
)
_CLAIM = (
    select(notices, deliveries.c.attempts, webhooks.c.id.label("webhook"), webhooks.c.url, webhooks.c.secret)
    .select_from(deliveries.join(notices, notices.c.id == deliveries.c.notice))
    .join(webhooks, webhooks.c.id == deliveries.c.webhook)
    # `due` once more: PostgreSQL looks only at this when another gateway leased the row a moment ago
    .where(_IS_DUE, tuple_(*_KEYS).in_(select(_QUEUE.c.notice, _QUEUE.c.webhook).where(_QUEUE.c.turn == 1)))
    .order_by(deliveries.c.due)
    .limit(bindparam("most"))
    .with_for_update(of=deliveries, skip_locked=True)
)
_THIS = (deliveries.c.notice == bindparam("of"), deliveries.c.webhook == bindparam("to"))
_LEASE = update(deliveries).where(*_THIS).values(due=bindparam("until"), attempts=deliveries.c.attempts + 1)
_END = (
    update(deliveries)
    .where(*_THIS, deliveries.c.delivered.is_(None))
    .values(due=bindparam("then"), delivered=bindparam("at"), error=bindparam("why"))
)
_FAIL = _END.where(deliveries.c.attempts == bindparam("tried"))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to a webhook. attempts: with this one. sealed: for `Notices.secrets_of`."""

    notice: Notice
    webhook: str
    url: str
    attempts: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a delivery. due: when it is tried next; None: delivered or given up. Times in Unix seconds."""

    webhook: str
    attempts: int
    due: float | None
    delivered: float | None
    error: str | None


def post(connection: Connection, posted: Sequence[Notice]) -> None:
    """Write the notices in the caller's transaction; one whose id is there already was told."""
    rows = [
        {"id": one.id, "at": one.at, "kind": one.kind, "tenant": one.tenant, "data": canonical(one.data)}
        for one in posted
    ]
    if rows:
        connection.execute(_POST[connection.dialect.name], [{**row, "spread": False} for row in rows])


def backoff(attempts: int) -> float | None:
    """Seconds until the next attempt after so many: 5, 10, 20 ..., a little scattered. None: a day is over, give up."""
    if attempts >= ATTEMPTS:
        return None
    scatter: float = random.SystemRandom().uniform(0.9, 1.05)  # a thousand deliveries shall not come back at once
    return _FIRST_PAUSE * 2.0 ** (attempts - 1) * scatter


class NotificationOutbox(Webhooks):
    """Webhooks, and their deliveries for the dispatcher. Every method raises LedgerError. Times in seconds."""

    async def history(self, limit: int = 100, tenant: str | None = None) -> list[tuple[Notice, list[Sent]]]:
        """The last notices, newest first, of one tenant or all, each with its deliveries."""
        query = select(notices).order_by(notices.c.at.desc(), notices.c.id).limit(limit)
        query = query if tenant is None else query.where(notices.c.tenant == tenant)

        def work(connection: Connection) -> list[tuple[Notice, list[Sent]]]:
            told = {row.id: (_notice(row), list[Sent]()) for row in connection.execute(query)}
            sent = select(deliveries).where(deliveries.c.notice.in_(list(told))).order_by(deliveries.c.webhook)
            for row in connection.execute(sent):
                told[row.notice][1].append(Sent(row.webhook, row.attempts, row.due, row.delivered, row.error))
            return list(told.values())

        return await self._store.read(work)

    async def waiting(self) -> bool:
        """Whether there is anything to spread or to send. Takes no lock."""
        values = {"now": self._clock()}
        return bool(await self._store.read(lambda connection: connection.scalar(_WAITING, values)))

    async def spread(self) -> list[Notice]:
        """Make a delivery of each new notice for each webhook that wants it; return the notices, each only once."""
        now = self._clock()

        def work(connection: Connection) -> list[Notice]:
            new = [_notice(row) for row in connection.execute(_NEW)]
            live = connection.execute(_SHARED_LIVE).all() if new else []
            made = [
                {"notice": one.id, "webhook": hook.id, "attempts": 0, "due": now, "delivered": None, "error": None}
                for one in new
                for hook in live
                if hook.tenant in {None, one.tenant} and (not hook.events or one.kind in hook.events.split())
            ]
            if made:
                connection.execute(_MAKE[connection.dialect.name], made)
            connection.execute(_SPREAD, {"ids": [one.id for one in new]})
            return new

        return await self._store.write(work)

    async def claim(self, most: int, busy: Collection[str] = (), lease: float = 60.0) -> list[Delivery]:
        """Take deliveries that are due, the first of each webhook that is not `busy`; nobody else gets them.

        lease: seconds after which one that was neither delivered nor failed is due again.
        """
        now = self._clock()

        def work(connection: Connection) -> list[Delivery]:
            rows = connection.execute(_CLAIM, {"now": now, "busy": list(busy), "most": most}).all()
            if rows:
                connection.execute(_LEASE, [{"of": row.id, "to": row.webhook, "until": now + lease} for row in rows])
            return [Delivery(_notice(row), row.webhook, row.url, row.attempts + 1, row.secret) for row in rows]

        return await self._store.write(work)

    def secrets_of(self, delivery: Delivery) -> tuple[str, ...]:
        """What to sign it with, the newest first."""
        now, known = self._clock(), self._unseal(delivery.webhook, delivery.sealed)
        return tuple(secret for secret, until in known if until is None or until > now)

    async def delivered(self, delivery: Delivery) -> None:
        """It arrived."""
        values = {**_ids(delivery), "then": None, "at": self._clock(), "why": None}
        await self._store.write(lambda connection: connection.execute(_END, values))

    async def failed(self, delivery: Delivery, error: str) -> bool:
        """It did not: it is due later, or after a day never. Returns whether it was given up."""
        pause = backoff(delivery.attempts)
        then = None if pause is None else self._clock() + pause
        values = {**_ids(delivery), "then": then, "at": None, "why": error, "tried": delivery.attempts}
        await self._store.write(lambda connection: connection.execute(_FAIL, values))
        return pause is None


def _ids(delivery: Delivery) -> dict[str, Any]:
    return {"of": delivery.notice.id, "to": delivery.webhook}


def _notice(row: Any) -> Notice:
    return Notice(row.id, row.at, row.kind, row.tenant, orjson.loads(row.data))
