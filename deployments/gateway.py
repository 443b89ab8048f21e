"""The ingress: the HTTP app and the stages, in one process a replica. Its user_config is the Policy."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from app.api.app import create_app
from app.batches.model import LineAnswer, Order, State
from app.batches.runner import LineRunner
from app.config import ConfigError, parse_graph, parse_policy
from app.config.stage_order import running
from app.core.terms import Terms
from app.installation.paths import development_key
from app.pipeline.gateway import Gateway
from app.runtime.process import Runtime
from app.runtime.wiring import wire
from deployments.clients import PortClient
from deployments.engine_client import ServeEngine

log = logging.getLogger("ray.serve")
DEVELOPMENT = Terms(requests_per_minute=60_000, tokens_per_minute=60_000_000)
"""The development key's limits: out of the way, but there, so that clients see the rate limit headers."""


@serve.ingress()
class GatewayServer:
    """`graph`: the config's args. `ports`, `pools`: handles of what has replicas of its own, by name."""

    async def __init__(  # type: ignore[misc]  # Serve awaits constructors
        self,
        graph: dict[str, Any],
        ports: dict[str, DeploymentHandle],
        pools: dict[str, DeploymentHandle],
        worker: DeploymentHandle | None = None,  # noqa: ARG002 - bound so that it is deployed; it asks for its work
    ) -> None:
        self._graph = parse_graph(graph)
        state = self._graph.state
        self._house = Runtime(
            state.database,
            state.files,
            batches=self._graph.batch_worker is not None,
            private=self._graph.webhooks.allow_private,
        )
        services = wire(
            self._graph,
            self._house,
            ports={name: PortClient(name, handle) for name, handle in ports.items()},
            engines={name: ServeEngine(handle) for name, handle in pools.items()},
        )
        self._gateway = Gateway(self._graph, services)
        await self._house.start(lambda: self._gateway.in_flight, services.index)
        if self._graph.state.development_key:
            await self._house.admin_service.ensure_tenant("development")
            await self._house.admin_service.ensure_key(development_key(), "development", DEVELOPMENT)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take a new policy; calls on their way finish under the old one.

        A replica that already serves keeps its policy when the new one is wrong, and says so in its log: raising
        would make Serve replace it by one that cannot start. Raises ConfigError where there is no old one.
        """
        try:
            self._gateway.apply(parse_policy(user_config))
        except ConfigError as error:
            if not self._gateway.configured:
                raise
            log.error("the new policy is wrong, the old one stays: %s", error)  # noqa: TRY400 - no trace needed
        else:
            self._house.see(self._gateway.policy.observability)
            log.info("policy applied: stages %s", " -> ".join(running(self._gateway.policy)))

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        app = create_app(self._gateway, self._house.dependencies, sends_id=False)  # Serve's proxy sends its own
        self._lines = LineRunner(self._gateway, app, self._house.archive.batches.whose)
        return app

    async def batch_state(self) -> State:
        """What there is room for: asked by batch workers."""
        return await self._lines.state()

    async def run_line(self, order: Order) -> LineAnswer | None:
        """As batches.lines.Lines.answer."""
        return await self._lines.answer(order)

    async def __del__(self) -> None:
        async with asyncio.timeout(10):
            await self._house.stop()
