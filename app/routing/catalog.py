"""Which tier, which pools, in what order: pure arithmetic over the policy and recent failures."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from app.billing.costs import CostModel
from app.billing.pricing import Price, PriceBook, PriceList
from app.config import EMBEDDING, MODERATION, Graph, Policy, Prices, Tier
from app.config.api import target


@dataclass(frozen=True, slots=True)
class ModelCatalog:
    """What a caller may ask for, and what it costs. context: pool -> tokens; models: model id -> its pools.

    costs: by pool, what its tokens cost us. aliases: other names of models, and patterns of such -> names.
    judges: names of what is no engine's.
    """

    tiers: Mapping[str, Tier]
    models: Mapping[str, frozenset[str]]
    context: Mapping[str, int]
    regions: Mapping[str, str]
    model_ids: Mapping[str, str]
    prices: PriceBook
    costs: Mapping[str, CostModel]
    aliases: Mapping[str, str] = field(default_factory=dict)
    judges: frozenset[str] = frozenset()

    @classmethod
    def of(cls, graph: Graph, policy: Policy) -> ModelCatalog:
        used = {pool for tier in policy.tiers.values() for pool in tier.pools}
        models: dict[str, frozenset[str]] = {}
        for name in sorted(used):
            model_id = graph.pools[name].model_id
            models[model_id] = models.get(model_id, frozenset()) | {name}
        return cls(
            tiers=policy.tiers,
            models=models,
            context={name: graph.pools[name].max_context for name in used},
            regions={name: graph.pools[name].region for name in used},
            model_ids={name: graph.pools[name].model_id for name in used},
            prices=_prices(graph, policy),
            costs={name: _cost_model(one.model_dump(exclude_none=True)) for name, one in policy.costs.items()},
            aliases=policy.aliases,
            judges=frozenset(policy.judges),
        )

    def resolved(self, model: str) -> str:
        """What a name that a caller gave stands for: itself, where no alias does."""
        return model if model in self.judges or model in self.names else target(self.aliases, model)

    def alone(self, tier: str, price: Prices, model_id: str, pool: str) -> ModelCatalog:
        """A catalog of one tier with one model, to be asked for by either name: what no engine answers."""
        return replace(
            self,
            tiers={tier: Tier(min_complexity=0, pools={pool: 1.0}, price=price)},
            models={model_id: frozenset({pool})},
            model_ids={pool: model_id},
            costs={},
        )

    @property
    def names(self) -> list[str]:
        """Everything that `model` may be, in the order that /v1/models lists it."""
        return ["auto", *self.tiers, *self.models]

    def tiers_of(self, model: str) -> Mapping[str, Tier]:
        """The tiers that a call to `model` may be billed as. Empty when there is no such model."""
        if model == "auto":
            return self.tiers
        name = self.tier_of(model)
        return {name: self.tiers[name]} if name else {}

    def tier_of(self, model: str) -> str:
        """The tier itself, or the lowest one with a pool of this model. Empty when there is none."""
        if model in self.tiers:
            return model
        pools = self.models.get(model, frozenset())
        by_level = sorted(self.tiers, key=lambda name: self.tiers[name].min_complexity)
        return next((name for name in by_level if pools & set(self.tiers[name].pools)), "")

    def pools_for(self, model: str, tier: str) -> dict[str, float]:
        """Pool -> weight for a pinned tier or model."""
        if model in self.tiers:
            return dict(self.tiers[model].pools)
        return {pool: self.tiers[tier].pools.get(pool, 1.0) for pool in sorted(self.models[model])}


def _prices(graph: Graph, policy: Policy) -> PriceBook:
    tiers = {name: Price(**dict(tier.price)) for name, tier in policy.tiers.items()}
    tiers |= {EMBEDDING: Price(**dict(policy.embeddings.price)), MODERATION: Price(**dict(policy.moderations.price))}
    apart = {
        (name, model_id): Price(**dict(policy.model_prices[model_id]))
        for name, tier in policy.tiers.items()
        for model_id in sorted({graph.pools[pool].model_id for pool in tier.pools})
        if model_id in policy.model_prices
    }
    contracts = {
        name: {tier: Price(**dict(prices)) for tier, prices in own.items()} for name, own in policy.price_lists.items()
    }
    return PriceBook(PriceList(policy.price_list, tiers, apart), contracts)


def _cost_model(goods: Mapping[str, Decimal]) -> CostModel:
    return CostModel.hosted(**goods) if "gpu_hour" in goods else CostModel.bought(**goods)


@dataclass(slots=True)
class Health:
    """Pools that failed rest for `cooldown` seconds: still tried, but last."""

    cooldown: float
    clock: Callable[[], float] = time.monotonic
    _resting: dict[str, float] = field(default_factory=dict)

    def failed(self, pool: str) -> None:
        self._resting[pool] = self.clock() + self.cooldown

    def answered(self, pool: str) -> None:
        self._resting.pop(pool, None)

    def well(self, pool: str) -> bool:
        return self._resting.get(pool, 0.0) <= self.clock()


def tier_for(score: float, tiers: Mapping[str, Tier]) -> str:
    """The most demanding tier whose `above` the score reaches."""
    reached = [name for name, tier in tiers.items() if score >= tier.min_complexity]
    return max(reached, key=lambda name: tiers[name].min_complexity)


def order_pools(groups: Sequence[Mapping[str, float]], health: Health, rng: random.Random) -> tuple[str, ...]:
    """Every pool once: group by group, healthy before resting, a weighted draw within each."""
    order: list[str] = []
    for group in groups:
        order += _draw({p: w for p, w in group.items() if health.well(p) and p not in order}, rng)
    for group in groups:
        order += _draw({p: w for p, w in group.items() if p not in order}, rng)
    return tuple(order)


def _draw(weights: Mapping[str, float], rng: random.Random) -> Iterable[str]:
    """A weighted shuffle: each key is -log(U)/w, the smallest first (Efraimidis and Spirakis, 2006)."""
    return sorted(weights, key=lambda pool: rng.expovariate(weights[pool]))
