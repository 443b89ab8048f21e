"""Pick the cheapest tier that will do, and the order in which its pools are tried.  recall -> [route] -> generate.

Reads Prompt; yields Prompt or Refusal. `model` may name a tier or a pool's model and so overrule the score. Pools
outside the regions where the tenant's data may go are never tried.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import aclosing

from app import errors
from app.call import Call
from app.config import Tier
from app.errors import ApiError
from app.events import Prompt, Refusal
from app.ports import Complexity, Denied, Encoder, Ledger
from app.rules.routing import Health, Menu, order_pools, tier_for
from app.stage import Events
from app.stages.admit import denied


class Route:
    """`menu`: what can be asked for. `health`: which pools failed lately. `ledger`: limits of a tier."""

    name = "route"

    def __init__(
        self,
        encoder: Encoder,
        complexity: Complexity,
        menu: Menu,
        health: Health,
        *,
        ledger: Ledger,
        rng: random.Random | None = None,
    ) -> None:
        self._encoder = encoder
        self._complexity = complexity
        self._menu = menu
        self._health = health
        self._ledger = ledger
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Embed the raw question early, when the score will be needed."""
        if prompt.model == "auto":
            call.begin_embed(self._encoder, prompt.question)

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Prompt) and (error := await self._plan(call, event)):
                    yield Refusal(self.name, error)
                    return
                yield event

    async def _plan(self, call: Call, prompt: Prompt) -> ApiError | None:
        with call.timed(self.name):
            if prompt.model == "auto":
                if error := await self._pick(call, prompt):
                    return error
                groups = self._with_overflow(call.tier or "", self._menu.tiers)
            else:
                call.tier = self._menu.tier_of(prompt.model)
                groups = [self._menu.pools_for(prompt.model, call.tier)]
        at_home = [{p: w for p, w in group.items() if self._resident(p, call)} for group in groups]
        if not any(at_home):
            return errors.region_not_allowed(call.who.regions or ())
        fitting = [{p: w for p, w in group.items() if self._fits(p, call)} for group in at_home]
        if not any(fitting):
            limit = max(self._menu.context[p] for group in at_home for p in group)
            return errors.context_length(limit, call.prompt_tokens_low)
        call.plan = order_pools(fitting, self._health, self._rng)
        call.note(self.name, tier=call.tier, pools=list(call.plan))
        return None

    async def _pick(self, call: Call, prompt: Prompt) -> ApiError | None:
        """The tier that the score asks for, or the next cheaper one with room under its own limits."""
        vector = await call.embed(self._encoder, prompt.question)
        score = await self._complexity.score(prompt.question, vector)
        tiers = self._menu.tiers
        wanted = tier_for(score, tiers)
        call.note(self.name, score=round(score, 4), threshold=tiers[wanted].above)
        cheaper = [name for name, tier in tiers.items() if tier.above <= tiers[wanted].above]
        first: Denied | None = None
        for tier in sorted(cheaper, key=lambda name: -tiers[name].above):
            answer = await self._narrow(call, tier)
            if answer is None:
                call.tier = tier
                return None
            first = first or answer
        call.note(self.name, denied=first.reason if first else None)
        return denied(first, 0) if first else None

    async def _narrow(self, call: Call, tier: str) -> Denied | None:
        """Count the call against the limits of its tier, where there are any."""
        names = frozenset({tier, *{self._menu.model_ids[pool] for pool in self._menu.tiers[tier].pools}})
        held = call.reservation
        if held is None or not any(limit.model in names for limit in call.who.limits):
            return None
        answer = await self._ledger.narrow(call.who, call.id, held.tokens, held.cost, names)
        if isinstance(answer, Denied):
            return answer
        call.reservation = answer
        return None

    def _resident(self, pool: str, call: Call) -> bool:
        return call.who.regions is None or self._menu.regions[pool] in call.who.regions

    def _fits(self, pool: str, call: Call) -> bool:
        # Only certain misfits: the count leaves the chat template out. The engine's own refusal settles the rest.
        return call.prompt_tokens_low < self._menu.context[pool]

    @staticmethod
    def _with_overflow(tier: str, tiers: Mapping[str, Tier]) -> list[dict[str, float]]:
        """`auto` promised an answer, not a tier: when its pools fail, the next stronger tiers' serve."""
        stronger = sorted((t for t in tiers.values() if t.above > tiers[tier].above), key=lambda t: t.above)
        return [dict(t.pools) for t in (tiers[tier], *stronger)]
