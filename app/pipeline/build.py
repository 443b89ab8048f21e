"""The rooms of a policy, in its order, as one pipe. Services are what they need from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from secrets import token_bytes

from app.config import EMBEDDING, MODERATION, Policy
from app.core.call import Call
from app.core.events import Prompt
from app.core.ports import (
    Classifier,
    Complexity,
    Contents,
    Encoder,
    Engine,
    Index,
    Journal,
    Ledger,
    Same,
    Scrubber,
    Tokenizer,
)
from app.core.stage import Early, Events, Pipe, Stage, fold
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
from app.pipeline.stages.settle import Observe, Settle
from app.routing.catalog import Health, Menu


@dataclass(frozen=True, slots=True)
class Services:
    """Every port, wired. count: text -> tokens. observe: called with each usage row and its call.

    tokenizer, same: None where the config names none. key: of the installation, for names that hide personal data.
    """

    encoder: Encoder
    scrubber: Scrubber
    guard: Classifier
    complexity: Complexity
    moderator: Classifier
    index: Index
    engines: Mapping[str, Engine]
    ledger: Ledger
    journal: Journal
    contents: Contents
    count: Callable[[str], int]
    observe: Observe
    tokenizer: Tokenizer | None = None
    same: Same | None = None
    key: bytes = field(default_factory=lambda: token_bytes(32))


class Overlap:
    """Stands behind admit: starts what later rooms need from the raw Prompt, so that they wait together."""

    name = "overlap"

    def __init__(self, rooms: list[Stage]) -> None:
        self._rooms = [room for room in rooms if isinstance(room, Early)]

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt):
                    for room in self._rooms:
                        room.begin(call, event)
                yield event


def build(services: Services, policy: Policy, menu: Menu, health: Health | None = None) -> Pipe:
    """The pipe of this policy. Cheap: a changed policy builds a new one, running calls keep theirs."""
    health = health or Health(policy.generate.cooldown)
    guard = Guard(services.guard, policy.guard)
    rooms: dict[str, Stage] = {
        "admit": Admit(services.ledger, policy.admit, services.count, menu),
        "scrub": Scrub(services.scrubber, policy.scrub, services.key),
        "guard": guard,
        "recall": Recall(services.encoder, services.index, policy.recall, services.same),
        "route": Route(
            services.encoder, services.complexity, menu, health, ledger=services.ledger, settings=policy.route
        ),
        "generate": Generate(services.engines, menu, health, policy.generate),
        "moderate": Moderate(services.moderator, policy.moderate),
        "remember": Remember(services.encoder, services.index, policy.recall, menu),
        "restore": Restore(),
        "settle": Settle(services.journal, services.contents, menu, services.observe),
    }
    order: list[Stage] = [rooms[name] for name in policy.rooms]
    if "guard" in policy.rooms and policy.guard.mode == "alongside":
        order.insert(policy.rooms.index("generate") + 1, Gate(guard))
    if "moderate" in policy.rooms:
        first = min(policy.rooms.index(name) for name in ("recall", "route") if name in policy.rooms)
        order.insert(first, Screen(services.moderator, policy.moderate))
    if "guard" in policy.rooms:
        # Last of those that read the answer with its placeholders in it, and before it is stored.
        answered = max(order.index(rooms[name]) for name in ("generate", "moderate") if name in policy.rooms)
        gated = isinstance(order[answered + 1], Gate)
        order.insert(answered + 1 + gated, Leak(policy.guard.leak))
        asked = min(order.index(rooms[name]) for name in ("recall", "generate") if name in policy.rooms)
        order.insert(asked, Confide())
    return fold([order[0], Overlap(order), *order[1:]])


def judging(services: Services, policy: Policy, menu: Menu) -> Mapping[str, Pipe]:
    """The pipes of the tasks that need no engine, by task."""
    embeddings, moderations = policy.embeddings, policy.moderations
    patience = policy.generate.deadline

    def pipe(room: Consult, own: Menu) -> Pipe:
        admit = Admit(services.ledger, policy.admit, services.count, own)
        return fold([admit, room, Settle(services.journal, services.contents, own, services.observe)])

    embed = Consult("embed", embedding(services.encoder), services.count, EMBEDDING, "encoder", patience)
    classify = Consult("classify", classifying(services.moderator), services.count, MODERATION, "moderator", patience)
    return {
        "embed": pipe(embed, menu.alone(EMBEDDING, embeddings.price, embeddings.model_id, "encoder")),
        "classify": pipe(classify, menu.alone(MODERATION, moderations.price, moderations.model_id, "moderator")),
    }
