"""What a gateway process keeps beside the stages: its database and all that stands on it, metrics and traces, and the
chores between calls. deployments.gateway, graphs.local -> [runtime] -> adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from app.api.app import ApiDependencies
from app.api.stored.idempotency import Idempotency
from app.api.stored.responses import Responses
from app.audit.contents import Contents
from app.batches.blobs import Blobs
from app.batches.files import Files
from app.batches.service import BatchService
from app.batches.store import Batches
from app.billing.ledger.ledger import SqlLedger
from app.billing.ledger.outbox import SettlementOutbox
from app.config.alerts import Observability
from app.core.call import Call
from app.core.ports import Index, PortError, UsageRow
from app.core.tasks import drain
from app.db.store import Store
from app.installation.paths import admin_key, database_url, files_url, folder
from app.installation.secrets import Secrets
from app.notifications.dispatcher import Dispatcher
from app.notifications.outbox import NotificationOutbox
from app.observability import logs
from app.observability.metrics import Metrics
from app.observability.traces import Tracer
from app.tenancy.admin import AdminService
from app.tenancy.authenticator import Authenticator

log = logging.getLogger(__name__)
SWEEP = 15.0
"""Seconds between two looks for reservations that nobody settled."""


class Runtime:
    """database: a SQLAlchemy URL, or None for SQLite in the state folder. files: as config.State.

    batches: whether a worker runs them. private: whether webhooks may point into private networks.
    Raises LedgerError, StateError.
    """

    def __init__(
        self, database: str | None, files: str | None = None, *, batches: bool = False, private: bool = False
    ) -> None:
        secrets = Secrets.load()
        url = database_url(database)
        self.store = Store(url)
        self.metrics = Metrics()
        self.ledger = SqlLedger(self.store, secrets)
        self.authenticator = Authenticator(self.store)
        self.pseudonym_key = secrets.pseudonym_key
        # A folder for each database: a dead gateway's rows must not be billed on another one.
        self.outbox = SettlementOutbox(
            self.ledger, folder() / "journal" / hashlib.sha256(url.encode()).hexdigest()[:16]
        )
        self.contents = Contents(self.store, secrets)
        self.idempotency = Idempotency(self.store, secrets)
        self.responses = Responses(self.store, secrets)
        self.admin_service = AdminService(self.store, secrets, changed=self.authenticator.forget)
        self.archive = BatchService(Files(self.store), Blobs(files_url(files)), Batches(self.store), runs=batches)
        self._dispatcher = Dispatcher(
            NotificationOutbox(self.store, secrets), self.metrics.delivered, allow_private=private
        )
        self._tracer = Tracer(None)
        self._sight = Observability()
        self._tasks: list[asyncio.Task[None]] = []
        self._index: Index | None = None

    @property
    def dependencies(self) -> ApiDependencies:
        """What the HTTP surface needs of it."""
        return ApiDependencies(
            self.metrics.export,
            self.metrics.door,
            self.idempotency,
            self.admin_service,
            admin_key(),
            self.responses,
            self.archive,
        )

    def see(self, observability: Observability) -> None:
        """Log and trace as the policy says."""
        logs.configure(observability.level, json=observability.logs == "json")
        if observability.traces != self._sight.traces:
            # Not waited for: a collector that is gone holds the last spans up for seconds.
            threading.Thread(target=self._tracer.close, daemon=True).start()
            self._tracer = Tracer(observability.traces)
        self._sight = observability

    def observe(self, row: UsageRow, call: Call) -> None:
        """Count, trace and log a settled call."""
        self.metrics.observe(row, call)
        self._tracer.record(call, row)
        logs.call_line(row)

    async def start(self, in_flight: Callable[[], int], index: Index | None = None) -> None:
        """Check the database and begin the chores. in_flight: how many calls this gateway has on their way.

        index: the semantic cache whose stock the metrics tell. Raises LedgerError.
        """
        self._index = index
        await self.admin_service.begin()
        for chore in (self.outbox.run(), self._dispatcher.run(), self._sweep(), self._gauge(in_flight)):
            self._tasks.append(asyncio.ensure_future(_lasting(chore)))

    async def stop(self) -> None:
        """End the chores, settle what was begun, let go of the database."""
        await drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.outbox.aclose()
        await self._dispatcher.close()
        await asyncio.to_thread(self._tracer.close)
        await self.authenticator.close()
        await self.ledger.close()

    async def _sweep(self) -> None:
        while True:
            chores = self._release, self.idempotency.expire, self.responses.expire, self.archive.sweep, self._stock
            for work in chores:
                with contextlib.suppress(PortError):  # readyz says it, and calls do
                    await work()
            await asyncio.sleep(SWEEP)

    async def _release(self) -> None:
        self.metrics.held(*await self.ledger.sweep())

    async def _stock(self) -> None:
        if self._index is not None:
            self.metrics.cache(await self._index.stock())

    async def _gauge(self, in_flight: Callable[[], int]) -> None:
        while True:
            self.metrics.in_flight(in_flight())
            self.metrics.outbox(self.outbox.waiting)
            await asyncio.sleep(1)


async def _lasting(chore: Coroutine[Any, Any, None]) -> None:
    """A chore that breaks must not end in silence."""
    try:
        await chore
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("a background chore ended")
