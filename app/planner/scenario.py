"""What is simulated: a config's pools, tiers and judges as numbers, and what is assumed beside. plan -> [scenario].

Everything that neither the trace nor the config knows is a field of `Assumptions`, and the report prints them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from app.config import Config, ConfigError, Scale, Split, UpstreamPool, VllmPool, choose
from app.config.policy import PoolCost, Tier
from app.planner.fleet import Autoscale, Size
from app.planner.profile import Judge, Profile
from app.planner.roofline import hardware, roofline

JUDGES_BEFORE = ("scrubber", "guard", "encoder")
JUDGES = ("gateway", *JUDGES_BEFORE, "cache", "paraphrase", "complexity", "moderator")
STAGE_OF = {"scrubber": "scrub", "guard": "guard", "encoder": "recall", "cache": "recall", "paraphrase": "recall",
            "complexity": "route", "moderator": "moderate"}  # fmt: skip
EXAMPLE_GPU_HOUR = 2.5
_FREE = PoolCost(input=Decimal(0), cached_input=Decimal(0), output=Decimal(0))


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is neither in the trace nor in the config.

    shares: tier -> part of the calls; empty: the config's `route.drift.shares`, else equal widths of `min_complexity`.
    scores: complexity scores of one's own traffic, which then choose the tier by `min_complexity`.
    cache_hits: part of the calls that the semantic cache answers. prefix_share: part of a prompt that the prefix cache
    holds, for traces without block ids. kv_link: bytes a second between prefill and decode. target: the service level,
    time to first token and mean gap between tokens that a good call stays under, in seconds.
    judges: base, per_token and at_most of those that are not as bundled (`Judge`).
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[float, ...] = ()
    routing: bool = True
    cache_hits: float = 0.10
    prefix_share: float = 0.30
    kv_link: float = 25e9
    cold_start_s: float = 120.0
    failures_per_day: float = 0.05
    gpu_hour: float | None = None
    cpu_hour: float = 0.04
    upstream_first_s: float = 0.6
    upstream_token_s: float = 0.015
    target_first_s: float = 2.0
    target_gap_s: float = 0.1
    judges: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)
    seed: int = 1


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool. size: of the replicas that decode; prefill: of those that only read, where the pool is split.

    profile: None for an upstream, whose tokens cost `bought` (input, cached input, output; for 1M).
    """

    name: str
    max_context: int
    profile: Profile | None = None
    size: Size = Size(1)  # noqa: RUF009 - frozen
    prefill: Size | None = None
    gpu_hour: float = 0.0
    bought: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class TierPlan:
    """A tier. price: input, cached input, output for 1M tokens, and the share of them that a cache hit costs."""

    name: str
    min_complexity: float
    pools: Mapping[str, float]
    price: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """A judge's (or the gateway's) replicas: most and fewest of them, and what each takes of a machine."""

    name: str
    cost: Judge
    most: int
    fewest: int
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole graph. tiers: from the least demanding up. Times in seconds."""

    name: str
    pools: Mapping[str, PoolPlan]
    tiers: tuple[TierPlan, ...]
    judges: Mapping[str, JudgePlan]
    assumed: Assumptions
    long_context: int
    long_tier: str | None
    max_in_flight: int
    alongside: bool
    stride: int
    deadline_s: float
    first_token_s: float
    recoveries: int
    recalls: bool

    def named(self, name: str, **assumed: Any) -> Scenario:
        """The same under other assumptions."""
        return replace(self, name=name, assumed=replace(self.assumed, **assumed))

    def fixed(self, replicas: Mapping[str, int]) -> Scenario:
        """With so many replicas and no autoscaling; a split pool's are `POOL` and `POOL/prefill`."""
        return replace(self, pools={name: _fixed(pool, replicas) for name, pool in self.pools.items()})

    def split(self, *, on: bool) -> Scenario:
        """With every pool of ours split, or none."""
        return replace(self, pools={name: _split(pool, on=on) for name, pool in self.pools.items()})


def scenario(config: Config, assumed: Assumptions, profiles: Mapping[str, Profile] | None = None) -> Scenario:
    """The config as numbers. profiles: measured ones, by pool. Raises ConfigError for a pool that none is known of."""
    policy, known = config.policy, profiles or {}
    tiers = sorted(policy.tiers.items(), key=lambda item: item[1].min_complexity)
    pools = {name: _pool(name, config, assumed, known) for name in config.graph.pools}
    long_tier = policy.route.min_tier.get("long_context") if "route" in policy.stages else None
    return Scenario(
        "as configured",
        pools,
        tuple(_tier(name, tier) for name, tier in tiers),
        {} if measured_through(pools) else dict(_judges(config, assumed)),
        replace(assumed, shares=_shares(assumed, dict(tiers), policy.route.drift.shares)),
        policy.route.long_context,
        long_tier,
        policy.admit.max_in_flight * _most(config.graph.gateway),
        policy.guard.mode == "alongside",
        policy.moderate.stride,
        policy.generate.deadline,
        policy.generate.first_token,
        policy.generate.recoveries,
        "recall" in policy.stages,
    )


def measured_through(pools: Mapping[str, PoolPlan]) -> bool:
    """Whether a profile was measured through the graph: then the judges' time is in it, and not counted again."""
    return any(pool.profile is not None and pool.profile.overhead_s > 0 for pool in pools.values())


def profile_of(name: str, pool: Any, profiles: Mapping[str, Profile], gpu: str | None = None) -> Profile:
    """A pool's profile: the measured one of its name, a GPU's roofline, a bundled one. Raises ConfigError.

    gpu: another GPU than the config's.
    """
    if name in profiles and gpu is None:
        return profiles[name]
    if isinstance(pool, VllmPool) and pool.accelerator.type and pool.source.startswith("hub:"):
        gpus = sum(bundle.get("GPU", 0.0) for bundle in pool.accelerator.bundles or [{"GPU": 1.0}])
        share = float(pool.engine_kwargs.get("gpu_memory_utilization", 0.9))
        return roofline(gpu or pool.accelerator.type, pool.source.removeprefix("hub:"), gpus, memory_share=share)
    if isinstance(pool, VllmPool) and pool.source in hardware().measured:
        return hardware().measured[pool.source]
    msg = f"pools.{name}: no bundled profile knows its model: `penstock profile FILE --pool {name}` measures it"
    raise ConfigError(msg)


def _pool(name: str, config: Config, assumed: Assumptions, profiles: Mapping[str, Profile]) -> PoolPlan:
    pool, cost = config.graph.pools[name], config.policy.costs.get(name, _FREE)
    if isinstance(pool, UpstreamPool) and name not in profiles:
        bought = (float(cost.input or 0), float(cost.cached_input or 0), float(cost.output or 0))
        return PoolPlan(name, pool.max_context, bought=bought)
    profile = profile_of(name, pool, profiles)
    hour = assumed.gpu_hour if assumed.gpu_hour is not None else float(cost.gpu_hour or EXAMPLE_GPU_HOUR)
    # A machine without a GPU is paid by the hour too: `costs` calls it one.
    gpus = profile.gpus or float(cost.gpus or (1 if cost.gpu_hour else 0))
    profile = profile.model_copy(update={"gpus": gpus})
    prefixed = isinstance(pool, VllmPool) and pool.router == "prefix"
    split: Split | None = pool.split if isinstance(pool, VllmPool) else None
    scale = split.decode if split else pool.deployment if isinstance(pool, VllmPool) else Scale()
    prefill = _size(split.prefill, assumed, prefixed=prefixed) if split else None
    return PoolPlan(name, pool.max_context, profile, _size(scale, assumed, prefixed=prefixed), prefill, hour)


def _size(scale: Scale, assumed: Assumptions, *, prefixed: bool) -> Size:
    rule = _autoscale(scale)
    return Size(
        replicas=rule.min_replicas if rule else _most(scale),
        max_ongoing=scale.max_ongoing_requests,
        max_queued=scale.max_queued_requests if scale.max_queued_requests >= 0 else 1_000_000,
        prefix_router=prefixed,
        autoscale=rule,
        cold_start_s=assumed.cold_start_s,
        failures_per_day=assumed.failures_per_day,
    )


def _autoscale(scale: Scale) -> Autoscale | None:
    if not scale.autoscaling_config:
        return None
    given = scale.autoscaling_config
    names = {"target_ongoing_requests": "target_ongoing", "metrics_interval_s": "interval_s",
             "look_back_period_s": "look_back_s"}  # fmt: skip
    known = Autoscale.__dataclass_fields__
    taken = {names.get(key, key): value for key, value in given.items() if names.get(key, key) in known}
    taken.pop("policy", None)
    taken["max_replicas"] = max(int(taken.get("max_replicas", 1)), 1)
    taken["min_replicas"] = max(int(taken.get("min_replicas", 1)), 1)
    return Autoscale(**taken)


def _most(scale: Scale) -> int:
    if scale.autoscaling_config:
        return int(scale.autoscaling_config.get("max_replicas", 1))
    return scale.num_replicas if isinstance(scale.num_replicas, int) else 1


def _tier(name: str, tier: Tier) -> TierPlan:
    price = tier.price
    prices = (float(price.input), float(price.cached_input), float(price.output), float(price.hit))
    return TierPlan(name, tier.min_complexity, tier.pools, prices)


def _shares(assumed: Assumptions, tiers: Mapping[str, Tier], configured: Mapping[str, float]) -> dict[str, float]:
    given = dict(assumed.shares or configured)
    if unknown := set(given) - set(tiers):
        msg = f"shares: `{min(unknown)}` is no tier: choose from {', '.join(tiers)}"
        raise ConfigError(msg)
    if not given:
        edges = [*(tier.min_complexity for tier in tiers.values()), 1.0]
        given = {name: max(high - low, 0.0) for name, low, high in zip(tiers, edges, edges[1:], strict=False)}
    total = sum(given.values()) or 1.0
    return {name: given.get(name, 0.0) / total for name in tiers}


def _judges(config: Config, assumed: Assumptions) -> Any:
    costs = dict(hardware().judges)
    for name, (base, per_token, at_most) in assumed.judges.items():
        if name not in costs:
            raise choose("judges", name, costs)
        costs[name] = Judge(base=base, per_token=per_token, at_most=at_most)
    for name in JUDGES:
        port = None if name == "gateway" else config.graph.ports.get(name)
        if name != "gateway" and (port is None or STAGE_OF[name] not in config.policy.stages):
            continue
        inline = port is not None and port.placement == "inline"
        scale = config.graph.gateway if port is None or inline else port.deployment
        fewest = int((scale.autoscaling_config or {}).get("min_replicas", _most(scale)))
        yield name, JudgePlan(name, costs[name], _most(scale), fewest, 0.0 if inline else scale.num_cpus,
                              0.0 if inline else scale.num_gpus)  # fmt: skip


def _fixed(pool: PoolPlan, replicas: Mapping[str, int]) -> PoolPlan:
    size, prefill = pool.size, pool.prefill
    if pool.name in replicas:
        size = replace(size, replicas=replicas[pool.name], autoscale=None)
    if prefill and f"{pool.name}/prefill" in replicas:
        prefill = replace(prefill, replicas=replicas[f"{pool.name}/prefill"], autoscale=None)
    return replace(pool, size=size, prefill=prefill)


def _split(pool: PoolPlan, *, on: bool) -> PoolPlan:
    if pool.profile is None or on == (pool.prefill is not None):
        return pool
    return replace(pool, prefill=replace(pool.size) if on else None)


Kind = Literal["answered", "cached", "shed", "failed"]
