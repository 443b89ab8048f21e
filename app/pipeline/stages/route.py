"""Pick the cheapest tier that will do, and the order in which its pools are tried.  recall -> [route] -> generate.

Reads Prompt; yields Prompt or Refusal. `model` may name a tier or a pool's model and so overrule the score. `auto`
takes the strongest of what the score asks for, what the conversation had before, and what the rules demand of the
prompt's traits. Pools outside the regions where the tenant's data may go are never tried.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from app.billing.pricing import worst_case
from app.config import Tier
from app.config.route import Route as Settings
from app.config.route import Trait
from app.core import errors
from app.core.call import Call
from app.core.decisions import RouteDecision
from app.core.errors import ApiError
from app.core.events import Prompt, Refusal
from app.core.ports import Complexity, Denied, Encoder, Ledger, PortError
from app.core.stage import Events
from app.pipeline.assembly import Assembly
from app.pipeline.outgrown import Outgrown
from app.pipeline.stages.admit import denied
from app.routing.catalog import Health, ModelCatalog, order_pools, tier_for
from app.routing.drift import Drift
from app.routing.stickiness import Conversations, Turns

log = logging.getLogger(__name__)


class Route:
    """`catalog`: what can be asked for. `health`: which pools failed lately. `ledger`: limits of a tier."""

    name = "route"

    def __init__(
        self,
        encoder: Encoder,
        complexity: Complexity,
        catalog: ModelCatalog,
        health: Health,
        *,
        ledger: Ledger,
        settings: Settings | None = None,
        rng: random.Random | None = None,
        outgrown: Outgrown | None = None,
    ) -> None:
        """outgrown: None where a prompt reaches this stage as it was admitted."""
        self._outgrown = outgrown
        self._encoder = encoder
        self._complexity = complexity
        self._catalog = catalog
        self._health = health
        self._ledger = ledger
        self._settings = settings or Settings()
        self._conversations = Conversations(self._settings.sticky)
        self._drift = Drift(**dict(self._settings.drift))
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret

    @classmethod
    def of(cls, parts: Assembly) -> Route:
        ports, settings = parts.ports, parts.policy.route
        return cls(
            ports.encoder,
            ports.complexity,
            parts.catalog,
            parts.health,
            ledger=ports.ledger,
            settings=settings,
            outgrown=Outgrown(ports.ledger, parts.catalog, ports.count),
        )

    def begin(self, call: Call, prompt: Prompt) -> None:
        """Embed the raw question early, when the score will be needed, and look where the conversation was."""
        if prompt.model == "auto":
            call.begin_embed(self._encoder, prompt.question)
            call.start(self.name, self._before(Turns.of(call.who.tenant, prompt)))

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
                groups = self._with_overflow(call.tier or "", self._catalog.tiers)
            else:
                call.tier = self._catalog.tier_of(prompt.model)
                groups = [self._catalog.pools_for(prompt.model, call.tier)]
        at_home = [{p: w for p, w in group.items() if self._resident(p, call)} for group in groups]
        if not any(at_home):
            return errors.region_not_allowed(call.who.regions or ())
        fitting = [{p: w for p, w in group.items() if self._fits(p, call)} for group in at_home]
        if not any(fitting):
            limit = max(self._catalog.context[p] for group in at_home for p in group)
            return errors.context_length(limit, call.prompt_tokens_low)
        if self._outgrown and (more := await self._outgrown.reserve(call, prompt)):
            return denied(more, call.prompt_tokens_high)
        call.plan = order_pools(fitting, self._health, self._rng)
        call.decisions.route = replace(call.decisions.route or RouteDecision(), tier=call.tier, pools=call.plan)
        return None

    async def _pick(self, call: Call, prompt: Prompt) -> ApiError | None:
        """The tier that is wanted, or the next cheaper one with stage under its own limits."""
        wanted = await self._wanted(call, prompt)
        tiers = self._catalog.tiers
        cheaper = [name for name, tier in tiers.items() if tier.min_complexity <= tiers[wanted].min_complexity]
        first: Denied | None = None
        for tier in sorted(cheaper, key=lambda name: -tiers[name].min_complexity):
            answer = await self._narrow(call, tier)
            if answer is None:
                call.tier = tier
                return None
            first = first or answer
        if first is None:
            return None
        call.decisions.route = replace(call.decisions.route or RouteDecision(), denied=first.reason)
        return denied(first, 0)

    async def _wanted(self, call: Call, prompt: Prompt) -> str:
        """The strongest tier that anything asks for. The decision tells what did: `by`."""
        vector = await call.embed(self._encoder, prompt.question)
        score = await self._complexity.score(prompt.question, vector)
        tiers = self._catalog.tiers
        wanted, by = tier_for(score, tiers), "score"
        made = RouteDecision(score=score, threshold=tiers[wanted].min_complexity)
        call.decisions.route = made
        turns, kept = await call.finished(self.name)
        claims = [
            ("conversation", kept),
            *((trait, self._settings.min_tier.get(trait)) for trait in self._traits(call, prompt)),
        ]
        for why, tier in claims:
            if tier in tiers and tiers[tier].min_complexity > tiers[wanted].min_complexity:
                wanted, by = tier, why
        if self._settings.sticky:
            self._conversations.keep(turns.now, wanted)
        self._watch(wanted)
        call.decisions.route = replace(made, by=by, drift=self._drift.out)
        return wanted

    async def _before(self, turns: Turns) -> tuple[Turns, str | None]:
        """The tier that the conversation had. Where another gateway answered: what its last turn's score asks for."""
        if not self._settings.sticky:
            return turns, None
        kept = self._conversations.tier(turns.now) or self._conversations.tier(turns.before)
        if kept is None and turns.asked:
            try:
                (vector,) = await self._encoder.encode([turns.asked])
                kept = tier_for(await self._complexity.score(turns.asked, vector), self._catalog.tiers)
            except PortError:
                log.warning("an earlier turn was not scored: its conversation may change its tier")
        return turns, kept

    def _traits(self, call: Call, prompt: Prompt) -> Iterator[Trait]:
        """What of the request asks for more than its wording tells."""
        if prompt.params.get("tools") or prompt.params.get("functions"):
            yield "tools"
        constrained = prompt.params.get("structured_outputs") or {}
        if (prompt.params.get("response_format") or {}).get("type") == "json_schema" or "json" in constrained:
            yield "json_schema"
        if call.prompt_tokens_low >= self._settings.long_context:
            yield "long_context"

    def _watch(self, tier: str) -> None:
        """Count the decision; say so when the shares leave their target, and when they are back."""
        if self._drift.count(tier):
            live = ", ".join(f"{name} {share:.1%}" for name, share in self._drift.live.items())
            if self._drift.out:
                log.warning("routing drifts: %s; `penstock route calibrate` sets the tiers' `above` anew", live)
            else:
                log.info("routing is back on target: %s", live)

    async def _narrow(self, call: Call, tier: str) -> Denied | None:
        """Count the call against its tier's limits, where there are any, and hold no more than it can cost there."""
        names = frozenset({tier, *{self._catalog.model_ids[pool] for pool in self._catalog.tiers[tier].pools}})
        held = call.reservation
        if held is None:
            return None
        cost = min(held.cost, self._worst(call, tier))
        if cost == held.cost and not any(limit.model in names for limit in call.who.limits):
            return None
        answer = await self._ledger.narrow(call.who, call.id, held.tokens, cost, names)
        if isinstance(answer, Denied):
            return answer
        call.reservation = answer
        return None

    def _worst(self, call: Call, tier: str) -> Decimal:
        """The most that the call can cost in this tier."""
        prices = self._catalog.prices.worst(call.who.price_list, [tier])
        prompt, completion = call.prompt_tokens_high, call.max_completion * call.choices
        worst = (worst_case(price, prompt, completion, batch=call.batch) for price in prices)
        return max(worst, default=Decimal(0))

    def _resident(self, pool: str, call: Call) -> bool:
        return call.who.regions is None or self._catalog.regions[pool] in call.who.regions

    def _fits(self, pool: str, call: Call) -> bool:
        # Only certain misfits: the count leaves the chat template out. The engine's own refusal settles the rest.
        return call.prompt_tokens_low < self._catalog.context[pool]

    @staticmethod
    def _with_overflow(tier: str, tiers: Mapping[str, Tier]) -> list[dict[str, float]]:
        """`auto` promised an answer, not a tier: when its pools fail, the next stronger tiers' serve."""
        stronger = sorted(
            (t for t in tiers.values() if t.min_complexity > tiers[tier].min_complexity), key=lambda t: t.min_complexity
        )
        return [dict(t.pools) for t in (tiers[tier], *stronger)]
