"""Put a config's ports and engines together as Services. What runs elsewhere is handed in; the rest is made here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from app.config import ConfigError, FakePool, Graph, Pool, UpstreamPool
from app.config.adapters import load
from app.config.ports import PORTS
from app.core.ports import Authenticator, Contents, Engine, Ledger, SettlementOutbox
from app.engines.tokenizer import Vocabulary, estimate
from app.engines.upstream import UpstreamEngine
from app.pipeline.ports import Observe, Ports
from app.testing.fakes import FakeEngine


class RuntimeServices(Protocol):
    """Who calls, what is billed, and who is told of it (app.runtime.process.Runtime)."""

    @property
    def authenticator(self) -> Authenticator: ...

    @property
    def ledger(self) -> Ledger: ...

    @property
    def outbox(self) -> SettlementOutbox: ...

    @property
    def contents(self) -> Contents: ...

    @property
    def observe(self) -> Observe: ...

    @property
    def pseudonym_key(self) -> bytes: ...


def wire(
    graph: Graph,
    runtime: RuntimeServices,
    *,
    ports: Mapping[str, Any] | None = None,
    engines: Mapping[str, Engine] | None = None,
) -> Ports:
    """`ports`, `engines`: those that run elsewhere, by name. Every other one is made in this process.

    Raises ConfigError for a vLLM pool without an engine: it needs Ray.
    """
    given = ports or {}
    vocabulary = Vocabulary(graph.tokenizer) if graph.tokenizer else None
    made = {name: given[name] if name in given else inline(graph, name) for name in graph.ports}
    named = {PORTS[name].attribute or name: port for name, port in made.items()}
    fields = {field.name for field in dataclasses.fields(Ports)}
    return Ports(
        **{name: port for name, port in named.items() if name in fields},
        others={name: port for name, port in named.items() if name not in fields},
        key=runtime.pseudonym_key,
        engines={name: (engines or {}).get(name) or engine(name, pool) for name, pool in graph.pools.items()},
        authenticator=runtime.authenticator,
        ledger=runtime.ledger,
        outbox=runtime.outbox,
        contents=runtime.contents,
        count=vocabulary.count if vocabulary else estimate,
        observe=runtime.observe,
        tokenizer=vocabulary,
    )


def inline(graph: Graph, name: str) -> Any:
    """A port's adapter in this process."""
    port = graph.ports[name]
    return load(name, port.adapter)(**port.options)


def engine(name: str, pool: Pool) -> Engine:
    """A pool that needs no replicas of ours. Raises ConfigError for one that does."""
    if isinstance(pool, FakePool):
        return FakeEngine(**pool.options)
    if isinstance(pool, UpstreamPool):
        return UpstreamEngine(pool.base_url, pool.upstream_model, pool.key_env, extensions=pool.extensions)
    raise ConfigError(f"pools.{name}: a vLLM pool needs Ray: start it with `penstock serve` or `serve run`")
