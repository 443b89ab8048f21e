"""The gateway: takes a caller's Prompt, opens a Call, runs it through the policy's pipe.

One per process. `apply` swaps the policy; calls on their way keep the pipe they started with.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

from app.config import Graph, Policy, check
from app.config.ports import LEDGER, ports_of
from app.config.stage_order import running
from app.core import errors
from app.core.call import CALL_ID, BatchLine, Call
from app.core.events import Prompt
from app.core.ports import Principal
from app.core.stage import Events, Pipe
from app.pipeline.build import build, judging
from app.pipeline.ports import Ports
from app.routing.catalog import Health, ModelCatalog

GRACE = 120.0
"""Seconds after a call's deadline in which it is settled; then its reservation is given up for lost."""


class Answers(Protocol):
    """A port that can tell whether it answers now."""

    def ready(self) -> Awaitable[bool]: ...


@dataclass
class Gateway:
    """`ports` and `graph` are fixed for the process; `policy`, `catalog`, `pipe` and `health` follow `apply`."""

    graph: Graph
    ports: Ports
    policy: Policy = field(init=False)
    catalog: ModelCatalog = field(init=False)
    pipe: Pipe = field(init=False)
    judging: Mapping[str, Pipe] = field(init=False)
    health: Health = field(init=False)
    created: int = field(default_factory=lambda: int(time.time()))
    in_flight: int = 0

    def apply(self, policy: Policy) -> None:
        """Take this policy for every call from now on. Raises ConfigError and keeps the old one."""
        check(self.graph, policy)
        catalog = ModelCatalog.of(self.graph, policy)
        self.health = Health(policy.generate.cooldown)
        self.pipe = build(self.ports, policy, catalog, self.health)
        self.judging = judging(self.ports, policy, catalog)
        self.ports.ledger.watch(policy.alerts.abuse_policy, policy.generate.deadline + GRACE)
        self.policy, self.catalog = policy, catalog

    def open(
        self,
        who: Principal,
        prompt: Prompt,
        *,
        read_cache: bool = True,
        write_cache: bool = True,
        traceparent: str | None = None,
        screen: str | None = None,
        line: BatchLine | None = None,
    ) -> tuple[Call, Events]:
        """A new call and its events. The caller must close the events; only then is the call settled.

        traceparent: the caller's W3C trace header. screen: as Call.screen. line: a batch's, which runs behind
        online calls, at batch price. Raises ApiError (503) when the gateway is full.
        """
        if self.in_flight >= self.policy.admit.max_in_flight:
            raise errors.overloaded()
        prompt = replace(prompt, model=self.catalog.resolved(prompt.model))
        call = Call(
            id=f"{_kind(prompt)}-{line.number() if line else secrets.token_hex(12)}",
            who=who,
            deadline=time.monotonic() + self.policy.generate.deadline,
            model=prompt.model,
            messages=prompt.messages,
            params=prompt.params,
            batch=line is not None,
            traceparent=traceparent,
            screen=screen,
            read_cache=read_cache,
            write_cache=write_cache,
        )
        CALL_ID.set(call.id)
        pipe = self.judging.get(prompt.task, self.pipe)
        return call, pipe(call, prompt)

    @property
    def configured(self) -> bool:
        """Whether a policy has been applied."""
        return hasattr(self, "policy")

    def needs(self, stage: str) -> tuple[str, ...]:
        """The ports that a stage asks, of those that the graph has."""
        return tuple(name for name in ports_of(stage) if name == LEDGER or name in self.graph.ports)

    async def pulse(self) -> dict[str, bool]:
        """Whether each thing that the configured stages need answers now: ports by name, pools as `pool NAME`."""
        ports = {need for stage in running(self.policy) for need in self.needs(stage)}
        things: dict[str, object] = {name: self.ports[name] for name in sorted(ports)}
        things |= {f"pool {name}": self.ports.engines[name] for name in self.catalog.context}
        answers = await asyncio.gather(*(_ready(thing) for thing in things.values()))
        return dict(zip(things, answers, strict=True))

    async def waiting_for(self) -> list[str]:
        """What the configured stages need and does not answer: ports by name, tiers with no pool that answers."""
        well = await self.pulse()
        missing = [name for name, answers in well.items() if not answers and not name.startswith("pool ")]
        return missing + [f"tier {name}" for name, tier in _empty_tiers(self.policy, well).items() if tier]


def _kind(prompt: Prompt) -> str:
    """How the ids of such calls begin, as OpenAI's do."""
    return {"embed": "embd", "classify": "modr"}.get(prompt.task) or ("cmpl" if prompt.raw else "chatcmpl")


def _empty_tiers(policy: Policy, well: Mapping[str, bool]) -> dict[str, bool]:
    return {name: not any(well[f"pool {p}"] for p in tier.pools) for name, tier in policy.tiers.items()}


async def _ready(thing: object) -> bool:
    """An inline adapter is ready once it stands; one with replicas is asked."""
    if not hasattr(thing, "ready"):
        return True
    return await cast("Answers", thing).ready()
