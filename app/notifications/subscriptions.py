"""Who hears of notices: webhooks and their signing secrets, sealed. admin service, outbox -> [subscriptions] -> SQL."""

from __future__ import annotations

import base64
import os
import re
import secrets as random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from sqlalchemy import Connection, bindparam, exists, false, insert, select, update

from app.audit.chain import append
from app.audit.records import OPERATOR, Entry
from app.core.refusals import LedgerError
from app.db.schema import deliveries, tenants, webhooks
from app.db.store import Store
from app.installation.secrets import SealError, Secrets

OVERLAP = 86_400.0
"""Seconds for which a rotated webhook's deliveries are signed with the old secret too."""
_KIND = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")

LIVE = select(webhooks).where(webhooks.c.disabled.is_(false())).order_by(webhooks.c.created, webhooks.c.id)
_ONE = LIVE.where(webhooks.c.id == bindparam("which")).with_for_update()
_DROP = (
    update(deliveries)
    .where(deliveries.c.webhook == bindparam("which"), deliveries.c.due.is_not(None))
    .values(due=None, error="the webhook was removed")
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """tenant None: the operator's, hears of every tenant. events: kinds of notice; empty: all."""

    id: str
    tenant: str | None
    url: str
    events: tuple[str, ...]
    created: float


class Webhooks:
    """actor: who asks (`admin`, `cli`), for the audit chain. Every method raises LedgerError."""

    def __init__(self, store: Store, secrets: Secrets, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._secrets = secrets
        self._clock = clock

    async def add_webhook(self, url: str, tenant: str | None, events: Sequence[str], actor: str) -> tuple[str, str]:
        """Return the new webhook's id, and its secret, never to be read again. events: kinds; none: all."""
        origin, wanted = _origin(url), _kinds(events)
        id_, secret, now = f"wh_{random.token_hex(8)}", _new_secret(), self._clock()
        new = {"id": id_, "tenant": tenant, "url": url, "events": " ".join(wanted), "disabled": False, "created": now}

        def work(connection: Connection) -> None:
            if tenant is not None and not connection.scalar(select(exists().where(tenants.c.id == tenant))):
                raise LedgerError(f"There is no tenant `{tenant}`: create it first.")
            connection.execute(insert(webhooks).values(**new, secret=self._seal(id_, [(secret, None)])))
            # Not the whole url: its path is often a secret itself.
            self._audit(connection, tenant, "webhook.create", actor, id_, url=origin, events=wanted)

        await self._store.write(work)
        return id_, secret

    async def webhooks(self) -> list[Webhook]:
        """Those that stand, oldest first."""
        rows = await self._store.read(lambda connection: connection.execute(LIVE).all())
        return [Webhook(row.id, row.tenant, row.url, tuple(row.events.split()), row.created) for row in rows]

    async def rotate(self, webhook: str, actor: str) -> str:
        """Return a new secret. The old one signs beside it for a day, so that a receiver can change over."""
        secret, now = _new_secret(), self._clock()

        def work(connection: Connection) -> None:
            row = _find(connection, webhook)
            old, _ = self._unseal(webhook, row.secret)[0]
            sealed = self._seal(webhook, [(secret, None), (old, now + OVERLAP)])
            connection.execute(update(webhooks).where(webhooks.c.id == webhook).values(secret=sealed))
            self._audit(connection, row.tenant, "webhook.rotate", actor, webhook)

        await self._store.write(work)
        return secret

    async def remove_webhook(self, webhook: str, actor: str) -> None:
        """Send it nothing more, and forget its secret."""

        def work(connection: Connection) -> None:
            row = _find(connection, webhook)
            connection.execute(update(webhooks).where(webhooks.c.id == webhook).values(disabled=True, secret=b""))
            connection.execute(_DROP, {"which": webhook})
            self._audit(connection, row.tenant, "webhook.remove", actor, webhook)

        await self._store.write(work)

    def _audit(
        self, connection: Connection, tenant: str | None, kind: str, actor: str, webhook: str, **data: Any
    ) -> None:
        entry = Entry(tenant or OPERATOR, self._clock(), kind, actor, webhook, data)
        append(connection, self._secrets.audit_key, [entry])

    def _seal(self, webhook: str, known: list[tuple[str, float | None]]) -> bytes:
        return self._secrets.sealer.seal(orjson.dumps(known), f"webhook {webhook}")

    def _unseal(self, webhook: str, sealed: bytes) -> list[tuple[str, float | None]]:
        try:
            known: list[tuple[str, float | None]] = orjson.loads(
                self._secrets.sealer.open(sealed, f"webhook {webhook}")
            )
        except SealError as error:
            raise LedgerError(f"The secret of webhook `{webhook}` cannot be read: {error}. Add it anew.") from error
        return known


def _find(connection: Connection, webhook: str) -> Any:
    if row := connection.execute(_ONE, {"which": webhook}).first():
        return row
    raise LedgerError(f"There is no webhook `{webhook}`: list the webhooks to see their ids.")


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def _origin(url: str) -> str:
    """`https://host:port` of a usable url. Raises LedgerError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and parts.username is None
    except ValueError:
        good = False
    if not good or " " in url or not (url.isascii() and url.isprintable()):
        msg = "The webhook's url is not usable: write http:// or https://, a host, and no user or password in it."
        raise LedgerError(msg)
    return f"{parts.scheme}://{parts.netloc}"


def _kinds(events: Sequence[str]) -> tuple[str, ...]:
    for kind in events:
        if not _KIND.fullmatch(kind):
            raise LedgerError(f"`{kind}` is no kind of notice: they are written like `budget.threshold`.")
    return tuple(dict.fromkeys(events))
