"""The stages of a policy, in its order, as one pipe. Ports are what they need from outside."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

from app.config import EMBEDDING, MODERATION, Policy
from app.core.call import Call
from app.core.events import Prompt
from app.core.stage import Early, Events, Pipe, Stage, fold
from app.pipeline.ports import Ports
from app.pipeline.stages.admit import Admit
from app.pipeline.stages.consult import Consult, classifying, embedding
from app.pipeline.stages.generate import Generate
from app.pipeline.stages.guard import Gate, Guard
from app.pipeline.stages.leak import Confide, Leak
from app.pipeline.stages.moderate import Moderate, Screen
from app.pipeline.stages.recall import Recall
from app.pipeline.stages.remember import Remember
from app.pipeline.stages.restore import Restore
from app.pipeline.stages.route import Route
from app.pipeline.stages.scrub import Scrub
from app.pipeline.stages.settle import Settle
from app.routing.catalog import Health, ModelCatalog

__all__ = ["Ports", "build", "judging"]


class Overlap:
    """Stands behind admit: starts what later stages need from the raw Prompt, so that they wait together."""

    name = "overlap"

    def __init__(self, stages: list[Stage]) -> None:
        self._stages = [stage for stage in stages if isinstance(stage, Early)]

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt):
                    for stage in self._stages:
                        stage.begin(call, event)
                yield event


def build(ports: Ports, policy: Policy, catalog: ModelCatalog, health: Health | None = None) -> Pipe:
    """The pipe of this policy. Cheap: a changed policy builds a new one, running calls keep theirs."""
    health = health or Health(policy.generate.cooldown)
    guard = Guard(ports.guard, policy.guard)
    stages: dict[str, Stage] = {
        "admit": Admit(ports.ledger, policy.admit, ports.count, catalog),
        "scrub": Scrub(ports.scrubber, policy.scrub, ports.key),
        "guard": guard,
        "recall": Recall(ports.encoder, ports.index, policy.cache, ports.paraphrase),
        "route": Route(ports.encoder, ports.complexity, catalog, health, ledger=ports.ledger, settings=policy.route),
        "generate": Generate(ports.engines, catalog, health, policy.generate),
        "moderate": Moderate(ports.moderator, policy.moderate),
        "remember": Remember(ports.encoder, ports.index, policy.cache, catalog),
        "restore": Restore(),
        "settle": Settle(ports.outbox, ports.contents, catalog, ports.observe),
    }
    order: list[Stage] = [stages[name] for name in policy.stages]
    if "guard" in policy.stages and policy.guard.mode == "alongside":
        order.insert(policy.stages.index("generate") + 1, Gate(guard))
    if "moderate" in policy.stages:
        first = min(policy.stages.index(name) for name in ("recall", "route") if name in policy.stages)
        order.insert(first, Screen(ports.moderator, policy.moderate))
    if "guard" in policy.stages:
        # Last of those that read the answer with its placeholders in it, and before it is stored.
        answered = max(order.index(stages[name]) for name in ("generate", "moderate") if name in policy.stages)
        gated = isinstance(order[answered + 1], Gate)
        order.insert(answered + 1 + gated, Leak(policy.guard.leak))
        asked = min(order.index(stages[name]) for name in ("recall", "generate") if name in policy.stages)
        order.insert(asked, Confide())
    return fold([order[0], Overlap(order), *order[1:]])


def judging(ports: Ports, policy: Policy, catalog: ModelCatalog) -> Mapping[str, Pipe]:
    """The pipes of the tasks that need no engine, by task."""
    embeddings, moderations = policy.embeddings, policy.moderations
    patience = policy.generate.deadline

    def pipe(stage: Consult, own: ModelCatalog) -> Pipe:
        admit = Admit(ports.ledger, policy.admit, ports.count, own)
        return fold([admit, stage, Settle(ports.outbox, ports.contents, own, ports.observe)])

    embed = Consult("embed", embedding(ports.encoder), ports.count, EMBEDDING, "encoder", patience)
    classify = Consult("classify", classifying(ports.moderator), ports.count, MODERATION, "moderator", patience)
    return {
        "embed": pipe(embed, catalog.alone(EMBEDDING, embeddings.price, embeddings.model_id, "encoder")),
        "classify": pipe(classify, catalog.alone(MODERATION, moderations.price, moderations.model_id, "moderator")),
    }
