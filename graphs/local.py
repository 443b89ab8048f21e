"""The same graph without a cluster: every port inline, in one process. For benchmarks and for building against fakes.

Pools must be upstreams or fakes: a vLLM pool needs Ray.
"""

from __future__ import annotations

from starlette.types import ASGIApp

from app.adapters.metrics import Metrics
from app.adapters.sql.ledger import SqlLedger
from app.config import Config
from app.gateway import Gateway
from app.http.app import create_app
from app.ports import Ledger
from app.state import database_url
from app.wiring import wire


def create(config: Config, ledger: Ledger | None = None) -> ASGIApp:
    """The ASGI app of a config. `ledger`: default, the config's own. Raises ConfigError."""
    metrics = Metrics()
    own = ledger or SqlLedger(database_url(config.graph.state.database))
    gateway = Gateway(config.graph, wire(config.graph, own, metrics.observe))
    gateway.apply(config.policy)
    return create_app(gateway, metrics.export)
