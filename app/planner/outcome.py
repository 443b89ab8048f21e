"""What a run means: latency, service level, replicas, money. simulate -> [outcome] -> plan, report.

Money is per day, as if the whole day were like the trace. A fleet costs what it holds, busy or not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from app.planner.scenario import Assumptions, Scenario
from app.planner.simulate import Row, Run
from app.planner.trace import DAY_S

PERCENTILES = (50, 95, 99)
JUDGE_LOAD = 0.7
"""Of a judge's time that is planned to be used."""
_PER = 1e6


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles, in seconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """A fleet over the run. replicas: the mean; busy: the part of their time that a step ran. gaps: between tokens."""

    replicas: float
    most_replicas: int
    gpus: float
    busy: float
    failures: int
    gaps: Spread


@dataclass(frozen=True, slots=True)
class JudgeFacts:
    """busy: servers that worked on average; needed: replicas for it; most: what the config allows."""

    busy: float
    needed: int
    most: int


@dataclass(frozen=True, slots=True)
class Money:
    """Per day, in the price list's currency; cost_per_million: of all tokens sold."""

    gpus: float
    cpus: float
    upstream: float
    revenue: float
    cost_per_million: float

    @property
    def cost(self) -> float:
        """Of everything."""
        return self.gpus + self.cpus + self.upstream

    @property
    def margin(self) -> float:
        """The part of the revenue that is left; 0 without any."""
        return (self.revenue - self.cost) / self.revenue if self.revenue else 0.0


@dataclass(frozen=True, slots=True)
class TierFacts:
    """A tier's calls. good: the part of the answered that met the service level."""

    calls: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    good: float
    first_s: Spread
    gap_s: Spread


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run, as numbers. goodput: calls a second that were answered or cached within the service level."""

    name: str
    calls: int
    answered: int
    cached: int
    shed: int
    failed: int
    why: dict[str, int]
    span_s: float
    tokens_per_day: float
    goodput: float
    good: float
    first_s: Spread
    gap_s: Spread
    whole_s: Spread
    mean_whole_s: float
    output_per_second: float
    tiers: dict[str, TierFacts]
    fleets: dict[str, FleetFacts]
    judges: dict[str, JudgeFacts]
    money: Money
    cells: int = 1

    @property
    def gpus(self) -> float:
        """On average, of all fleets and cells."""
        return sum(fleet.gpus for fleet in self.fleets.values()) * self.cells


def outcome(run: Run, tokens_per_day: float | None = None) -> Outcome:
    """Sum a run up. tokens_per_day: of the load that the run is a part of, for the money; None: its own."""
    rows, assumed, span = run.rows, run.scenario.assumed, run.load.span_s
    hows = Counter(row.how for row in rows)
    answered = [row for row in rows if row.how == "answered"]
    well = sum(good(row, assumed) for row in rows)
    fleets, judges = _fleets(run), _judges(run)
    day = tokens_per_day or run.load.tokens_per_day
    return Outcome(
        name=run.scenario.name,
        calls=len(rows),
        answered=hows["answered"],
        cached=hows["cached"],
        shed=hows["shed"],
        failed=hows["failed"],
        why=dict(Counter(row.why for row in rows if row.why)),
        span_s=span,
        tokens_per_day=day,
        goodput=well / span,
        good=well / len(rows),
        first_s=spread([row.first_s for row in answered]),
        gap_s=spread([row.gap_s for row in answered if row.output_tokens > 1]),
        whole_s=spread([row.whole_s for row in answered]),
        mean_whole_s=sum(row.whole_s for row in answered) / max(len(answered), 1),
        output_per_second=sum(row.output_tokens for row in answered) / span,
        tiers=_tiers(rows, assumed),
        fleets=fleets,
        judges=judges,
        money=_money(run, fleets, judges, day),
    )


def good(row: Row, assumed: Assumptions) -> bool:
    """Whether a call met the service level."""
    if row.how == "cached":
        return row.first_s <= assumed.target_first_s
    return row.how == "answered" and row.first_s <= assumed.target_first_s and row.gap_s <= assumed.target_gap_s


def spread(values: Sequence[float]) -> Spread:
    """Percentiles by the nearest rank; zeros of nothing."""
    ordered = sorted(values)
    return Spread(*(ordered[max(ceil(len(ordered) * p / 100), 1) - 1] if ordered else 0.0 for p in PERCENTILES))


def times(one: Outcome, cells: int) -> Outcome:
    """The outcome of so many equal installations side by side, each with its part of the load."""
    money = one.money
    more = Money(
        money.gpus * cells, money.cpus * cells, money.upstream * cells, money.revenue * cells, money.cost_per_million
    )
    return replace(
        one,
        cells=cells,
        money=more,
        tokens_per_day=one.tokens_per_day * cells,
        goodput=one.goodput * cells,
        output_per_second=one.output_per_second * cells,
    )


def _tiers(rows: Iterable[Row], assumed: Assumptions) -> dict[str, TierFacts]:
    by_tier: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_tier[row.tier].append(row)
    return {tier: _tier(found, assumed) for tier, found in sorted(by_tier.items())}


def _tier(rows: Sequence[Row], assumed: Assumptions) -> TierFacts:
    answered = [row for row in rows if row.how == "answered"]
    return TierFacts(
        calls=len(rows),
        prompt_tokens=sum(row.prompt_tokens for row in answered),
        cached_tokens=sum(row.cached_tokens for row in answered),
        output_tokens=sum(row.output_tokens for row in answered),
        good=sum(good(row, assumed) for row in answered) / max(len(answered), 1),
        first_s=spread([row.first_s for row in answered]),
        gap_s=spread([row.gap_s for row in answered]),
    )


def _fleets(run: Run) -> dict[str, FleetFacts]:
    found = {}
    for name, fleet in run.fleets.items():
        profile = run.scenario.pools[name.removesuffix("/prefill")].profile
        held = fleet.replica_seconds(run.load.span_s)
        replicas = held / run.load.span_s
        gaps = Spread(*(fleet.counts.gaps.percentile(p) for p in PERCENTILES))
        gpus = replicas * (profile.gpus if profile else 0.0)
        busy = fleet.counts.busy_s / held if held else 0.0
        found[name] = FleetFacts(replicas, fleet.most_replicas, gpus, min(busy, 1.0), fleet.failures, gaps)
    return found


def _judges(run: Run) -> dict[str, JudgeFacts]:
    found = {}
    for name, station in run.stations.items():
        plan = run.scenario.judges[name]
        busy = station.busy_s / run.load.span_s
        found[name] = JudgeFacts(busy, max(ceil(busy / JUDGE_LOAD), plan.fewest), plan.most)
    return found


def _money(run: Run, fleets: dict[str, FleetFacts], judges: dict[str, JudgeFacts], tokens_per_day: float) -> Money:
    plan, days = run.scenario, DAY_S / run.load.span_s
    grown = tokens_per_day / run.load.tokens_per_day * days
    pools = {name: plan.pools[name.removesuffix("/prefill")] for name in fleets}
    gpus = sum(fleet.gpus * pools[name].gpu_hour * 24 for name, fleet in fleets.items())
    dear = max((pool.gpu_hour for pool in pools.values()), default=0.0)
    shares = [(one.needed, plan.judges[name]) for name, one in judges.items()]
    cpus = sum(count * one.cpus for count, one in shares) * plan.assumed.cpu_hour * 24
    gpus += sum(count * one.gpus for count, one in shares) * dear * 24
    bought = sum(_bought(row, plan) for row in run.rows if row.how == "answered" and row.pool) * grown
    revenue = sum(revenue_of(row, plan) for row in run.rows) * grown
    return Money(gpus, cpus, bought, revenue, (gpus + cpus + bought) / tokens_per_day * _PER)


def _bought(row: Row, plan: Scenario) -> float:
    read, cached, written = plan.pools[row.pool or ""].bought
    fresh = row.prompt_tokens - row.cached_tokens
    return (fresh * read + row.cached_tokens * cached + row.output_tokens * written) / _PER


def revenue_of(row: Row, plan: Scenario) -> float:
    """What a call is billed at list price: what `app.billing.pricing` charges, but for its rounding."""
    if row.how not in {"answered", "cached"}:
        return 0.0
    read, cached, written, hit = next(tier.price for tier in plan.tiers if tier.name == row.tier)
    share = hit if row.how == "cached" else 1.0
    fresh = row.prompt_tokens - row.cached_tokens
    return (fresh * read + row.cached_tokens * cached + row.output_tokens * written) * share / _PER
