"""The batch worker as a Serve deployment: no requests of its own, it looks for work in the database.

[BatchWorker] -> Gateway.run_line -> the same routes and stages as online calls. Any number of replicas.
"""

from __future__ import annotations

import asyncio
import secrets as random
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from app.batches.blobs import Blobs
from app.batches.model import LineAnswer, Order, State
from app.batches.queue import Work
from app.batches.worker import Worker
from app.config import parse_graph
from app.db.store import Store
from app.installation.paths import database_url, files_url
from app.installation.secrets import Secrets

PATIENCE = 5.0
"""Seconds a gateway may take to tell its state."""


class ServeGateways:
    """batches.worker.Gateways over the handle of the application's own Gateway."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._state = handle.options(method_name="batch_state")
        self._run = handle.options(method_name="run_line")

    async def state(self) -> State:
        async with asyncio.timeout(PATIENCE):
            state: State = await self._state.remote()
        return state

    async def answer(self, order: Order) -> LineAnswer | None:
        answer: LineAnswer | None = await self._run.remote(order)
        return answer


class BatchWorker:
    """`graph`: the config's args."""

    async def __init__(self, graph: dict[str, Any]) -> None:  # type: ignore[misc]  # Serve awaits constructors
        state = parse_graph(graph).state
        self._store = Store(database_url(state.database))
        work = Work(self._store, Secrets.load(), f"worker_{random.token_hex(8)}")
        # The Gateway is the application's root and so cannot be bound to what stands below it.
        handle = serve.get_deployment_handle("Gateway", serve.get_replica_context().app_name)
        worker = Worker(work, Blobs(files_url(state.files)), ServeGateways(handle))
        self._running = asyncio.ensure_future(worker.run())

    def check_health(self) -> None:
        """Raise when the worker has ended: Serve replaces it."""
        if self._running.done():
            raise RuntimeError("the batch worker has ended")

    async def __del__(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._store.close()
