"""The ingress: the HTTP app and the rooms, in one process a replica. Its user_config is the Policy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from app.adapters.fakes import FakeEngine
from app.adapters.metrics import Metrics
from app.adapters.sql.ledger import SqlLedger
from app.adapters.tokens import counter
from app.adapters.upstream import UpstreamEngine
from app.config import FakePool, Graph, Pool, UpstreamPool, parse_graph, parse_policy
from app.gateway import Gateway
from app.http.app import create_app
from app.pipe import Services
from app.ports import Engine
from app.registry import load
from app.stages.settle import drain
from app.state import database_url, development_key
from deployments.clients import CLIENTS
from deployments.handles import ServeEngine

log = logging.getLogger("ray.serve")


@serve.ingress()
class GatewayServer:
    """`graph`: the config's args. `ports`, `pools`: handles of what is not inline, by name."""

    async def __init__(  # type: ignore[misc]  # Serve awaits constructors
        self, graph: dict[str, Any], ports: dict[str, DeploymentHandle], pools: dict[str, DeploymentHandle]
    ) -> None:
        self._graph = parse_graph(graph)
        self._metrics = Metrics()
        self._ledger = SqlLedger(database_url(self._graph.state.database))
        if self._graph.state.development_key:
            await self._ledger.ensure_tenant("development")
            await self._ledger.ensure_key(development_key(), "development")
        self._gateway = Gateway(self._graph, self._services(ports, pools))

    def _services(self, ports: Mapping[str, DeploymentHandle], pools: Mapping[str, DeploymentHandle]) -> Services:
        wired: dict[str, Any] = {
            name: CLIENTS[name](name, ports[name]) if name in ports else inline(self._graph, name)
            for name in self._graph.ports
        }
        return Services(
            encoder=wired["encoder"],
            scrubber=wired["scrubber"],
            guard=wired["guard"],
            complexity=wired["complexity"],
            moderator=wired["moderator"],
            index=wired["cache"],
            engines={name: engine(pool, pools.get(name)) for name, pool in self._graph.pools.items()},
            ledger=self._ledger,
            count=counter(self._graph.tokenizer),
            observe=self._metrics.observe,
        )

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take a new policy. Calls on their way finish under the old one. Raises ConfigError and keeps the old."""
        self._gateway.apply(parse_policy(user_config))
        log.info("policy applied: rooms %s", " -> ".join(self._gateway.policy.rooms))

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_app(self._gateway, self._metrics.export)

    async def __del__(self) -> None:
        async with asyncio.timeout(10):
            await drain()
            await self._ledger.close()


def inline(graph: Graph, name: str) -> Any:
    """A port's adapter in this process."""
    port = graph.ports[name]
    return load(name, port.adapter)(**port.options)


def engine(pool: Pool, handle: DeploymentHandle | None) -> Engine:
    """A pool as an Engine."""
    if isinstance(pool, FakePool):
        return FakeEngine(**pool.options)
    if isinstance(pool, UpstreamPool):
        return UpstreamEngine(pool.base_url, pool.upstream_model, pool.key_env)
    assert handle is not None  # noqa: S101 - graphs.chat binds one for every vLLM pool
    return ServeEngine(handle)
