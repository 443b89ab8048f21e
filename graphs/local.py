"""The same graph without a cluster: every port inline, in one process. For benchmarks and for building against fakes.

Pools must be upstreams or fakes: a vLLM pool needs Ray.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from starlette.types import ASGIApp

from app.config import Config
from app.gateway import Gateway
from app.house import House
from app.http.app import create_app
from app.wiring import wire


def create(config: Config) -> ASGIApp:
    """The ASGI app of a config; its chores run for as long as its lifespan. Raises ConfigError, LedgerError."""
    house = House(config.graph.state.database)
    gateway = Gateway(config.graph, wire(config.graph, house))
    gateway.apply(config.policy)
    house.see(config.policy.sight)

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        await house.start(lambda: gateway.in_flight)
        yield
        await house.stop()

    return create_app(gateway, house.desk, lifespan=lifespan)
