"""The same graph without a cluster: every port inline, in one process. For benchmarks and for building against fakes.

Pools must be upstreams or fakes: a vLLM pool needs Ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets as random
from collections.abc import AsyncIterator

from starlette.types import ASGIApp

from app.api.app import create_app
from app.batches.queue import Work
from app.batches.runner import LineRunner
from app.batches.worker import Worker
from app.config import Config
from app.installation.secrets import Secrets
from app.pipeline.gateway import Gateway
from app.runtime.process import Runtime
from app.runtime.wiring import wire


def create(config: Config) -> ASGIApp:
    """The ASGI app of a config; its chores run for as long as its lifespan. Raises ConfigError, LedgerError."""
    state = config.graph.state
    runtime = Runtime(
        state.database,
        state.files,
        batches=config.graph.batch_worker is not None,
        private=config.graph.webhooks.allow_private,
    )
    gateway = Gateway(config.graph, wire(config.graph, runtime))
    gateway.apply(config.policy)
    runtime.see(config.policy.observability)

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        await runtime.start(lambda: gateway.in_flight, gateway.ports.index)
        working = [asyncio.ensure_future(worker.run())] if runtime.archive.runs else []
        yield
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await runtime.stop()

    app = create_app(gateway, runtime.dependencies, lifespan=lifespan)
    lines = LineRunner(gateway, app, runtime.archive.batches.whose)
    work = Work(runtime.store, Secrets.load(), f"worker_{random.token_hex(8)}")
    worker = Worker(work, runtime.archive.blobs, lines)
    return app
