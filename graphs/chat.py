"""The chat graph: a validated config, bound as one Ray Serve application.

serve run serve_config.yaml      # import_path: graphs.chat:build, args: the graph

Gateway ──> Encoder, Scrubber, Guard, Cache, ParaphraseJudge, Complexity, Moderator
└─────> Pool:NAME (ray.serve.llm) ...
BatchWorker ──> Gateway
"""

from __future__ import annotations

import os
from typing import Any

import ray
from ray import serve
from ray.serve.deployment import Application

from app.config import Graph, VllmPool, check, parse_graph
from app.config.ports import PORTS
from app.installation.paths import folder
from deployments.batch_worker import BatchWorker
from deployments.gateway import GatewayServer
from deployments.options import environment, serve_options
from deployments.pools import build_pool
from deployments.servers import PortServer
from graphs.guarded import check_guarded


def build(args: dict[str, Any]) -> Application:
    """The application for a graph config (`app.config.Graph`). Raises ConfigError or ModelError before any replica
    starts.
    """
    if ray.is_initialized():
        check_guarded(ray.util.get_node_ip_address(), os.environ.get("RAY_AUTH_MODE"))
    graph = parse_graph(args)
    ports = {name: bind_port(graph, name) for name, port in graph.ports.items() if port.placement == "deployment"}
    pools = {name: build_pool(name, pool) for name, pool in graph.pools.items() if isinstance(pool, VllmPool)}
    # Gateways of one machine add their metrics up, so that a scrape of any of them sees all.
    metrics = environment(PROMETHEUS_MULTIPROC_DIR=str(folder() / "metrics"))
    # A changed gateway starts beside the old one, which finishes its streams: no request waits for either.
    gateway = serve.deployment(GatewayServer, name="Gateway").options(
        **serve_options(graph.gateway, metrics), max_surge_percent=100
    )
    if graph.policy is not None:
        check(graph, graph.policy)
        gateway = gateway.options(user_config=graph.policy.model_dump(mode="json"))
    return gateway.bind(graph.model_dump(mode="json", exclude={"policy"}), ports, pools, bind_worker(graph))


def bind_port(graph: Graph, name: str) -> Application:
    """One port's adapter as a deployment."""
    port = graph.ports[name]
    title = PORTS[name].deployment
    deployment = serve.deployment(PortServer).options(name=title, **serve_options(port.deployment, environment()))
    return deployment.bind(name, port.adapter, port.options, port.batch)


def bind_worker(graph: Graph) -> Application | None:
    """The batch worker, where there is one."""
    if graph.batch_worker is None:
        return None
    options = serve_options(graph.batch_worker, environment())
    worker = serve.deployment(BatchWorker).options(name="BatchWorker", **options, health_check_period_s=2)
    return worker.bind(graph.model_dump(mode="json", exclude={"policy"}))
