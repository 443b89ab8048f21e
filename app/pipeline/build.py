"""The stages of a policy, in the order that they declare (config/stage_order), as one pipe."""

from __future__ import annotations

from collections.abc import Mapping

from app.config import EMBEDDING, MODERATION, Policy
from app.config.stage_order import running
from app.core.stage import Pipe, fold
from app.pipeline.assembly import Assembly, StageClass
from app.pipeline.ports import Ports
from app.pipeline.stages.admit import Admit
from app.pipeline.stages.consult import Consult, classifying, embedding
from app.pipeline.stages.generate import Generate
from app.pipeline.stages.guard import Gate, Guard
from app.pipeline.stages.leak import Confide, Leak
from app.pipeline.stages.moderate import Moderate, Screen
from app.pipeline.stages.overlap import Overlap
from app.pipeline.stages.recall import Recall
from app.pipeline.stages.remember import Remember
from app.pipeline.stages.restore import Restore
from app.pipeline.stages.route import Route
from app.pipeline.stages.scrub import Scrub
from app.pipeline.stages.settle import Settle
from app.pipeline.stages.tools import Tools
from app.routing.catalog import Health, ModelCatalog

__all__ = ["CLASSES", "Ports", "build", "judging"]

_CLASSES: tuple[StageClass, ...] = (
    Admit,
    Overlap,
    Scrub,
    Guard,
    Screen,
    Confide,
    Recall,
    Route,
    Generate,
    Gate,
    Tools,
    Moderate,
    Leak,
    Remember,
    Restore,
    Settle,
)
CLASSES: Mapping[str, StageClass] = {made.name: made for made in _CLASSES}
"""Stage -> its class."""


def build(ports: Ports, policy: Policy, catalog: ModelCatalog, health: Health | None = None) -> Pipe:
    """The pipe of this policy. Cheap: a changed policy builds a new one, running calls keep theirs."""
    parts = Assembly(ports, policy, catalog, health or Health(policy.generate.cooldown))
    order = running(policy)
    # Overlap last: it begins what the others have to begin.
    for name in sorted(order, key=lambda stage: stage == Overlap.name):
        parts.stages[name] = CLASSES[name].of(parts)
    return fold([parts.stages[name] for name in order])


def judging(ports: Ports, policy: Policy, catalog: ModelCatalog) -> Mapping[str, Pipe]:
    """The pipes of the tasks that need no engine, by task."""
    embeddings, moderations = policy.embeddings, policy.moderations
    patience = policy.generate.deadline

    def pipe(stage: Consult, own: ModelCatalog) -> Pipe:
        parts = Assembly(ports, policy, own, Health(policy.generate.cooldown))
        return fold([Admit.of(parts), stage, Settle.of(parts)])

    embed = Consult("embed", embedding(ports.encoder), ports.count, EMBEDDING, "encoder", patience)
    classify = Consult("classify", classifying(ports.moderator), ports.count, MODERATION, "moderator", patience)
    return {
        "embed": pipe(embed, catalog.alone(EMBEDDING, embeddings.price, embeddings.model_id, "encoder")),
        "classify": pipe(classify, catalog.alone(MODERATION, moderations.price, moderations.model_id, "moderator")),
    }
