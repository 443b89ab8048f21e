"""Pick the cheapest tier that will do, and the order in which its pools are tried.  recall -> [route] -> generate.

Reads Prompt; yields Prompt or Refusal. `model` may name a tier or a pool's model and so overrule the score.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import aclosing

from app import errors
from app.call import Call
from app.config import Tier
from app.events import Prompt, Refusal
from app.ports import Complexity, Encoder
from app.rules.routing import Health, Menu, order_pools, tier_for
from app.stage import Events


class Route:
    """`menu`: what can be asked for. `health`: which pools failed lately."""

    name = "route"

    def __init__(
        self, encoder: Encoder, complexity: Complexity, menu: Menu, health: Health, rng: random.Random | None = None
    ) -> None:
        self._encoder = encoder
        self._complexity = complexity
        self._menu = menu
        self._health = health
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Embed the raw question early, when the score will be needed."""
        if prompt.model == "auto":
            call.begin_embed(self._encoder, prompt.question)

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt) and (refusal := await self._plan(call, event)):
                    yield refusal
                    return
                yield event

    async def _plan(self, call: Call, prompt: Prompt) -> Refusal | None:
        tiers = self._menu.tiers
        if prompt.model == "auto":
            vector = await call.embed(self._encoder, prompt.question)
            score = await self._complexity.score(prompt.question, vector)
            call.tier = tier_for(score, tiers)
            call.note(self.name, score=round(score, 4), threshold=tiers[call.tier].above)
            weights = self._with_overflow(call.tier, tiers)
        else:
            call.tier = self._menu.tier_of(prompt.model)
            weights = [self._menu.pools_for(prompt.model, call.tier)]
        fitting = [{p: w for p, w in group.items() if self._fits(p, call)} for group in weights]
        if not any(fitting):
            limit = max(self._menu.context[p] for group in weights for p in group)
            return Refusal(self.name, errors.context_length(limit, call.prompt_tokens_low))
        call.plan = order_pools(fitting, self._health, self._rng)
        call.note(self.name, tier=call.tier, pools=list(call.plan))
        return None

    def _fits(self, pool: str, call: Call) -> bool:
        # Only certain misfits: the count leaves the chat template out. The engine's own refusal settles the rest.
        return call.prompt_tokens_low < self._menu.context[pool]

    @staticmethod
    def _with_overflow(tier: str, tiers: Mapping[str, Tier]) -> list[dict[str, float]]:
        """`auto` promised an answer, not a tier: when its pools fail, the next stronger tiers' serve."""
        stronger = sorted((t for t in tiers.values() if t.above > tiers[tier].above), key=lambda t: t.above)
        return [dict(t.pools) for t in (tiers[tier], *stronger)]
