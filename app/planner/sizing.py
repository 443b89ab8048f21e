"""The fewest replicas that keep the service level: reckoned from the work, then tried and grown. plan -> [sizing]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from app.planner.fleet import work_s
from app.planner.outcome import Outcome, good, outcome
from app.planner.scenario import Assumptions, PoolPlan, Scenario
from app.planner.simulate import Row, Run, draws, order, simulate, tier_of
from app.planner.trace import Arrival, load

GOOD_SHARE = 0.95
"""Of a pool's calls that must meet the service level."""
LOST_SHARE = 0.005
"""Of a pool's calls that may be shed or fail."""
START_LOAD = 0.9
"""Of a replica's time, at the first try."""
WORTH = 0.002
"""More good calls that further replicas must bring, or they are taken back."""
TRIES = 10
MOST_REPLICAS = 1000
"""Of a fleet of one installation: a stream that asks for more is not sized, only found too much."""


@dataclass(frozen=True, slots=True)
class Sized:
    """replicas: by fleet. met: whether the service level is; where not, more replicas would not help."""

    scenario: Scenario
    replicas: dict[str, int]
    outcome: Outcome
    met: bool


def sized(scenario: Scenario, trace: Sequence[Arrival], tokens_per_day: float | None = None) -> Sized:
    """The scenario with as few fixed replicas as keep the service level on this trace."""
    replicas = {name: min(ceil(busy / START_LOAD), MOST_REPLICAS) for name, busy in work(scenario, trace).items()}
    search = _Search(replicas)
    for _ in range(TRIES):
        run = simulate(scenario.fixed(search.replicas), trace)
        if not search.grow(run):
            break
    if search.reverted:
        run = simulate(scenario.fixed(search.replicas), trace)
    return Sized(scenario.fixed(search.replicas), search.replicas, outcome(run, tokens_per_day), not search.short)


class _Search:
    """What was tried, by pool, so that growth that does not help is taken back."""

    def __init__(self, replicas: dict[str, int]) -> None:
        self.replicas = replicas
        self.short: set[str] = set()
        self.reverted = False
        self._stuck: set[str] = set()
        self._last: dict[str, tuple[float, str]] = {}

    def grow(self, run: Run) -> bool:
        """Grow each pool that falls short, by a tenth, at least by one; False: nothing is to be grown."""
        self.short, grew = set(), False
        for pool in run.scenario.pools.values():
            rows = [row for row in run.rows if row.pool == pool.name]
            if pool.profile is None or _kept(rows, run.scenario.assumed):
                continue
            self.short.add(pool.name)
            if pool.name not in self._stuck:
                grew = self._grow(pool, rows, run.scenario.assumed) or grew
        return grew

    def _grow(self, pool: PoolPlan, rows: Sequence[Row], assumed: Assumptions) -> bool:
        share = sum(good(row, assumed) for row in rows) / len(rows)
        if pool.name in self._last:
            before, fleet = self._last[pool.name]
            if share < before + WORTH:
                self.replicas = {**self.replicas, fleet: self.replicas[fleet] - _step(self.replicas[fleet])}
                self._stuck.add(pool.name)
                self.reverted = True
                return False
        fleet = _short_fleet(pool, rows, assumed)
        self._last[pool.name] = (share, fleet)
        self.replicas = {**self.replicas, fleet: self.replicas[fleet] + _step(self.replicas[fleet])}
        return True


def _step(replicas: int) -> int:
    return max(replicas // 10, 1)


def _short_fleet(pool: PoolPlan, rows: Sequence[Row], assumed: Assumptions) -> str:
    """Of a split pool: what reads, where first tokens are late; what writes, where the others are."""
    if pool.prefill is None:
        return pool.name
    late = sum(row.how == "answered" and row.first_s > assumed.target_first_s for row in rows)
    slow = sum(row.how == "answered" and row.gap_s > assumed.target_gap_s for row in rows)
    return pool.name if slow > late else f"{pool.name}/prefill"


def work(scenario: Scenario, trace: Sequence[Arrival]) -> dict[str, float]:
    """Replicas that each fleet's work keeps busy, by the mean of the trace."""
    seconds: dict[str, float] = defaultdict(float)
    for pool in scenario.pools.values():
        if pool.profile:
            seconds |= dict.fromkeys((pool.name, *([f"{pool.name}/prefill"] if pool.prefill else [])), 0.0)
    for one, luck in zip(trace, draws(len(trace), scenario.assumed.seed), strict=True):
        if scenario.recalls and luck.hit < scenario.assumed.cache_hits:
            continue
        tier = tier_of(scenario, one, luck.tier)
        pool = scenario.pools[order(tier.pools, luck.pool)[0]]
        if one.tokens > pool.max_context:
            continue
        for name, spent in _seconds(pool, one, scenario.assumed.prefix_share).items():
            seconds[name] += spent
    span = load(trace).span_s
    return {name: spent / span for name, spent in seconds.items()}


def _seconds(pool: PoolPlan, one: Arrival, prefix_share: float) -> Mapping[str, float]:
    if pool.profile is None:
        return {}
    fresh = ceil(one.prompt_tokens * (1 - prefix_share))
    if pool.prefill is None:
        return {pool.name: work_s(pool.profile, fresh, one.output_tokens)}
    return {
        pool.name: work_s(pool.profile, one.prompt_tokens, one.output_tokens, "decode"),
        f"{pool.name}/prefill": work_s(pool.profile, fresh, one.output_tokens, "prefill"),
    }


def _kept(rows: Sequence[Row], assumed: Assumptions) -> bool:
    lost = sum(row.how != "answered" for row in rows)
    return not rows or (
        sum(good(row, assumed) for row in rows) >= GOOD_SHARE * len(rows) and lost <= max(LOST_SHARE * len(rows), 1)
    )


def busiest(trace: Sequence[Arrival], calls: int) -> list[Arrival]:
    """So many calls in a row that came in the least time, from 0 on."""
    if len(trace) <= calls:
        return list(trace)
    first = min(range(len(trace) - calls), key=lambda at: trace[at + calls].at - trace[at].at)
    start = trace[first].at
    return [
        Arrival(one.at - start, one.prompt_tokens, one.output_tokens, one.blocks)
        for one in trace[first : first + calls]
    ]
