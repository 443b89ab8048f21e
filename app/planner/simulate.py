"""One run: a trace through a scenario's graph, as a discrete-event simulation. plan -> [simulate] -> Rows.

A call passes the gateway, the judges side by side, cache, router, its tier's pools and the moderator, as it does in the
graph. It ends as one of four: answered, cached, shed (turned away for load) or failed; nothing else leaves.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import Any, NamedTuple

import simpy

from app.planner.fleet import Fleet
from app.planner.replica import Job
from app.planner.scenario import JUDGES_BEFORE, Kind, PoolPlan, Scenario, TierPlan
from app.planner.stats import Station
from app.planner.trace import Arrival, Load, load

Steps = Generator[simpy.Event, Any, Any]
CHARACTERS_PER_TOKEN = 4


class Row(NamedTuple):
    """How one call ended. first_s, whole_s: from its arrival; gap_s: mean between tokens. why: of a failure."""

    tier: str
    pool: str | None
    how: Kind
    why: str | None
    first_s: float
    whole_s: float
    gap_s: float
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


class Draws(NamedTuple):
    """A call's luck, drawn once for all scenarios of a seed, so that they differ in what they are about."""

    tier: float
    hit: float
    pool: float


@dataclass(frozen=True, slots=True)
class Served:
    """A pool's answer. why: None if there is one. first_at: simulated time of the first token."""

    why: str | None
    first_at: float = 0.0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it. end_s: when the last call had ended. fleets: `POOL` and `POOL/prefill`."""

    scenario: Scenario
    load: Load
    rows: list[Row]
    fleets: dict[str, Fleet]
    stations: dict[str, Station]
    end_s: float


def draws(count: int, seed: int) -> list[Draws]:
    """The luck of so many calls."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    return [Draws(rng.random(), rng.random(), rng.random()) for _ in range(count)]


def simulate(scenario: Scenario, trace: Sequence[Arrival]) -> Run:
    """Run it until every call has ended. Raises TraceError for an empty trace."""
    asked = load(trace)
    env = simpy.Environment()
    graph = Graph(env, scenario, len(trace))
    env.process(graph.arrivals(trace))
    env.run(until=graph.all_ended)
    return Run(scenario, asked, graph.rows, graph.fleets, graph.stations, env.now)


class Graph:
    """The graph while it runs."""

    def __init__(self, env: simpy.Environment, scenario: Scenario, calls: int) -> None:
        self._env, self._plan, self._calls = env, scenario, calls
        self.rows: list[Row] = []
        self.all_ended = env.event()
        self.stations = {name: Station(judge.most) for name, judge in scenario.judges.items()}
        self.fleets: dict[str, Fleet] = {}
        for pool in scenario.pools.values():
            self.fleets |= self._fleets(pool)
        self._overheads = {p.name: Station(p.profile.overhead_servers) for p in scenario.pools.values() if p.profile}
        self._in_flight = 0
        self._luck = draws(calls, scenario.assumed.seed)

    def arrivals(self, trace: Sequence[Arrival]) -> Steps:
        """Start every call at its time."""
        for number, one in enumerate(trace):
            if one.at > self._env.now:
                yield self._env.timeout(one.at - self._env.now)
            self._env.process(self._call(one, self._luck[number]))

    def _fleets(self, pool: PoolPlan) -> dict[str, Fleet]:
        if pool.profile is None:
            return {}
        seed = f"{self._plan.assumed.seed}/{pool.name}"
        if pool.prefill is None:
            return {pool.name: Fleet(self._env, pool.profile, pool.size, "both", seed)}
        return {
            pool.name: Fleet(self._env, pool.profile, pool.size, "decode", seed),
            f"{pool.name}/prefill": Fleet(self._env, pool.profile, pool.prefill, "prefill", f"{seed}/prefill"),
        }

    def _call(self, one: Arrival, luck: Draws) -> Steps:
        began, tier = self._env.now, tier_of(self._plan, one, luck.tier)
        if self._in_flight >= self._plan.max_in_flight:
            self._end(Row(tier.name, None, "shed", "gateway", 0.0, 0.0, 0.0, one.prompt_tokens, 0, 0))
            return
        self._in_flight += 1
        judged_at = yield from self._judge(one)
        if self._plan.recalls and luck.hit < self._plan.assumed.cache_hits:
            spent = self._env.now - began
            row = Row(tier.name, None, "cached", None, spent, spent, 0.0, one.prompt_tokens, 0, one.output_tokens)
        else:
            row = yield from self._generate(one, tier, luck, began, judged_at)
        self._in_flight -= 1
        self._end(row)

    def _end(self, row: Row) -> None:
        self.rows.append(row)
        if len(self.rows) == self._calls:
            self.all_ended.succeed()

    def _judge(self, one: Arrival) -> Steps:
        """Gateway, then the judges that need only the prompt side by side, then cache and router; returns when the
        guard had judged, which holds nothing up but the first token where it works alongside.
        """
        start = self._pass("gateway", self._env.now, one.prompt_tokens)
        ends = {name: self._pass(name, start, one.prompt_tokens) for name in JUDGES_BEFORE}
        waits = [end for name, end in ends.items() if not (name == "guard" and self._plan.alongside)]
        yield self._env.timeout(max(waits) - self._env.now)
        end = self._env.now
        for name in ("cache", "paraphrase", "complexity"):
            end = self._pass(name, end, one.prompt_tokens)
        if end > self._env.now:
            yield self._env.timeout(end - self._env.now)
        return ends["guard"]

    def _pass(self, judge: str, at: float, tokens: int) -> float:
        station = self.stations.get(judge)
        return at if station is None else station.leave(at, self._plan.judges[judge].cost.seconds(tokens))

    def _generate(self, one: Arrival, tier: TierPlan, luck: Draws, began: float, judged_at: float) -> Steps:
        served, used = Served("too long"), None
        for name in order(tier.pools, luck.pool):
            if one.tokens > self._plan.pools[name].max_context:
                continue
            used = name
            served = yield from self._serve(self._plan.pools[name], one)
            if served.why not in {"queue full", "lost"}:
                break
        whole = self._env.now - began
        why = served.why or ("deadline" if whole > self._plan.deadline_s else None)
        if why:
            how: Kind = "shed" if why == "queue full" else "failed"
            return Row(tier.name, used, how, why, 0.0, whole, 0.0, one.prompt_tokens, 0, 0)
        gap = (self._env.now - served.first_at) / max(one.output_tokens - 1, 1)
        first_at = max(served.first_at, judged_at)
        moderated = self._moderate(one.output_tokens)
        first, whole = first_at - began + moderated, max(whole, first_at - began) + moderated
        return Row(tier.name, used, "answered", None, first, whole, gap, one.prompt_tokens, served.cached,
                   one.output_tokens)  # fmt: skip

    def _moderate(self, output_tokens: int) -> float:
        """The last window's time, which the end of an answer waits for, and the first one's. Every window is work."""
        judge, station = self._plan.judges.get("moderator"), self.stations.get("moderator")
        if judge is None or station is None:
            return 0.0
        each = judge.cost.seconds(100)
        station.busy_s += each * ceil(output_tokens * CHARACTERS_PER_TOKEN / self._plan.stride)
        return each

    def _serve(self, pool: PoolPlan, one: Arrival) -> Steps:
        """One pool's try, again where a replica is lost. Returns Served."""
        if pool.profile is None:
            assumed = self._plan.assumed
            first_at = self._env.now + assumed.upstream_first_s
            yield self._env.timeout(assumed.upstream_first_s + assumed.upstream_token_s * (one.output_tokens - 1))
            return Served(None, first_at)
        if pool.profile.overhead_s:
            end = self._overheads[pool.name].leave(self._env.now, pool.profile.overhead_s)
            yield self._env.timeout(end - self._env.now)
        served = Served("lost")
        for _ in range(self._plan.recoveries + 1):
            served = yield from (self._split(pool, one) if pool.prefill else self._whole(pool.name, one))
            if served.why != "lost":
                break
        return served

    def _whole(self, fleet: str, one: Arrival) -> Steps:
        job = self._job(one)
        if not self.fleets[fleet].submit(job):
            return Served("queue full")
        how = yield job.end
        return Served(None if how == "done" else how, job.first_at or self._env.now, job.cached)

    def _split(self, pool: PoolPlan, one: Arrival) -> Steps:
        """Read here, carried over the link, written there."""
        read = yield from self._whole(f"{pool.name}/prefill", one)
        if read.why or pool.profile is None:
            return read
        yield self._env.timeout(one.prompt_tokens * pool.profile.kv_bytes_per_token / self._plan.assumed.kv_link)
        written = yield from self._whole(pool.name, one)
        return Served(written.why, written.first_at, read.cached)

    def _job(self, one: Arrival) -> Job:
        cached = 0 if one.blocks else int(one.prompt_tokens * self._plan.assumed.prefix_share)
        expires = self._env.now + self._plan.first_token_s
        blocks = one.blocks if self._plan.assumed.prefix_share else None
        return Job(one.prompt_tokens, one.output_tokens, blocks, cached, expires, self._env.event())


def tier_of(plan: Scenario, one: Arrival, luck: float) -> TierPlan:
    """The tier that a call takes: by the shares or by scores, and not below that of long prompts."""
    tiers, assumed = plan.tiers, plan.assumed
    if not assumed.routing:
        return tiers[-1]
    if assumed.scores:
        score = assumed.scores[int(luck * len(assumed.scores))]
        number = max(i for i, tier in enumerate(tiers) if not i or score >= tier.min_complexity)
    else:
        edges = accumulate(assumed.shares.get(tier.name, 0.0) for tier in tiers)
        number = next((i for i, edge in enumerate(edges) if luck < edge), len(tiers) - 1)
    if plan.long_tier and one.prompt_tokens >= plan.long_context:
        number = max(number, next(i for i, tier in enumerate(tiers) if tier.name == plan.long_tier))
    return tiers[number]


def order(weights: Any, luck: float) -> list[str]:
    """The pools of a tier: one drawn by weight, then the others by weight."""
    names = sorted(weights, key=lambda name: -weights[name])
    edges = list(accumulate(weights[name] for name in names))
    first = next((name for name, edge in zip(names, edges, strict=True) if luck * edges[-1] < edge), names[0])
    return [first, *(name for name in names if name != first)]
