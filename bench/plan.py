"""The planner against the graph that it plans for, and autoscaling rules against each other on its simulator.

    python bench/plan.py                                  starts the local config's graph, measures, replays, compares
    python bench/plan.py --url URL --key KEY [--model M]  the same against a graph, or any engine, that runs already
    python bench/plan.py --rules                          only the autoscaling rules; needs no graph

The pool is measured first, alone, as `penstock profile` does it (or read from --profile). Then a slice of a trace, its
lengths shrunk to what the engine manages, is replayed with its own arrivals at each --load (share of what the pool can
do), and the same calls with the lengths that they came to are simulated. Printed: prediction beside measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from app.config import load_file
from app.installation.paths import development_key
from app.planner import measure, trace
from app.planner.fleet import Autoscale, Size, work_s
from app.planner.measure import Fixed, Target, Timing
from app.planner.outcome import outcome, spread
from app.planner.profile import Profile, ProfileError, load, save
from app.planner.scenario import Assumptions, PoolPlan, Scenario, TierPlan, scenario
from app.planner.simulate import simulate
from app.planner.sizing import busiest, sized
from app.planner.trace import Arrival

ROOT = Path(__file__).parents[1]
PORT = 8078
POOL = "pool"
GOALS = {"output tokens/s": 0.20, "TTFT p50": 0.20, "TTFT p99": 0.40, "whole p50": 0.20, "whole p99": 0.40}
KV_BYTES, KV_TOKENS = 23_040, 20_000
MIN_PROMPT, MIN_ANSWER = 16, 4
RULES_TOKENS, RULES_TIMES, SWING, SWINGS = 3e9, 3, 0.6, 2


RULES = {
    "Ray's default (2 ongoing)": Autoscale(),
    "as configured": None,
    "8 ongoing": Autoscale(target_ongoing=8.0),
    "16 ongoing": Autoscale(target_ongoing=16.0),
    "16 ongoing, down after 120 s": Autoscale(target_ongoing=16.0, downscale_delay_s=120.0),
    "work and its trend, 120 s": Autoscale(target_ongoing=64.0, policy="work", downscale_delay_s=120.0),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Throughput and latencies of one replay, measured or simulated; by GOALS' names."""

    figures: dict[str, float]

    @classmethod
    def of(cls, first: Sequence[float], whole: Sequence[float], tokens: int, span_s: float) -> Seen:
        """From seconds to the first token and in all."""
        firsts, wholes = spread(first), spread(whole)
        return cls(
            {
                "output tokens/s": tokens / span_s,
                "TTFT p50": firsts.p50,
                "TTFT p99": firsts.p99,
                "whole p50": wholes.p50,
                "whole p99": wholes.p99,
            }
        )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a graph that runs already")
    parser.add_argument("--key", help="default: the development key")
    parser.add_argument("--model", default="small")
    parser.add_argument("--trace", type=Path, help="Azure's CSV or Mooncake's JSON lines; default: a made-up one")
    parser.add_argument("--calls", type=int, default=80, help="of the slice")
    parser.add_argument("--load", default="0.3,0.6", help="shares of what the pool can do, in turns")
    parser.add_argument("--shrink", type=float, default=0.12, help="of the trace's lengths")
    parser.add_argument("--longest", type=int, default=400, help="prompt tokens")
    parser.add_argument("--answer", type=int, default=48, help="tokens of the longest answer")
    parser.add_argument("--batch", type=int, default=16, help="answers at once in the engine")
    parser.add_argument("--profile", type=Path, help="read this instead of measuring; written where it is not there")
    parser.add_argument("--rules", action="store_true", help="only the autoscaling rules")
    asked = parser.parse_args()
    recorded = trace.read(asked.trace) if asked.trace else trace.synthetic(6000, 1)
    if not asked.rules:
        with graph(asked.url) as url:
            target = Target(url, asked.key or development_key(), asked.model, asked.longest, asked.batch)
            asyncio.run(compare(target, profiled(target, asked.profile), recorded, asked))
    rules(recorded)


async def compare(target: Target, profile: Profile, recorded: Sequence[Arrival], asked: argparse.Namespace) -> None:
    """Each load: replay, simulate, print."""
    each = await tokens_a_word(target)
    for share in (float(part) for part in asked.load.split(",")):
        calls = paced(shrunk(recorded, asked), profile, share)
        print(
            f"\n{len(calls)} calls at {share:.0%} of what the pool can do: {trace.load(calls).calls_per_second:.2f}/s"
        )
        began = time.perf_counter()
        timings = await replay(target, calls, each)
        span = time.perf_counter() - began
        served = [replace(one, prompt_tokens=t.prompt_tokens, output_tokens=t.output_tokens)
                  for one, t in zip(calls, timings, strict=True) if t]  # fmt: skip
        if not served:
            print("no call was answered: nothing to compare")
            continue
        answered = [one for one in timings if one]
        if lost := len(timings) - len(answered):
            print(f"{lost} calls were refused or failed, and are left out of both sides")
        tokens = sum(one.output_tokens for one in answered)
        measured = Seen.of([one.first_s for one in answered], [one.last_s for one in answered], tokens, span)
        show(predicted(profile, served), measured)


def profiled(target: Target, file: Path | None) -> Profile:
    """The pool's profile, from the file if it is there."""
    if file and file.exists():
        return next(iter(load(file).pools.values()))
    found = asyncio.run(measure.measure(target, Fixed(0.0, KV_BYTES, KV_TOKENS), print))
    print(f"before the engine: {found.overhead_s * 1000:.0f} ms, {found.overhead_servers} at once")
    if file:
        save(file, {POOL: found})
    return found


async def tokens_a_word(target: Target) -> float:
    """Of the filler text, in the model's own tokens."""
    async with measure.client(target) as http:
        seen = await measure.ask(http, target.model, measure.words(100, "ratio"), 2)
    return seen.prompt_tokens / 100


def shrunk(recorded: Sequence[Arrival], asked: argparse.Namespace) -> list[Arrival]:
    """The slice, as long as the engine manages. Its ratio of prompts to answers stays."""
    cut = trace.thinned(recorded, asked.calls)
    return [
        Arrival(
            one.at,
            min(max(round(one.prompt_tokens * asked.shrink), MIN_PROMPT), asked.longest),
            min(max(round(one.output_tokens * asked.shrink), MIN_ANSWER), asked.answer),
        )
        for one in cut
    ]


def paced(calls: Sequence[Arrival], profile: Profile, share: float) -> list[Arrival]:
    """The calls so close together that they keep the pool's bottleneck busy for `share` of the time."""
    engine = sum(work_s(profile, one.prompt_tokens, one.output_tokens) for one in calls)
    before = len(calls) * profile.overhead_s / profile.overhead_servers
    span = trace.load(calls).span_s
    return trace.paced(calls, share * span / max(engine, before))


async def replay(target: Target, calls: Sequence[Arrival], tokens_each: float) -> list[Timing | None]:
    """Send every call at its time; None for one that was not answered."""
    async with measure.client(target) as http:
        began = time.perf_counter()

        async def one(number: int, call: Arrival) -> Timing | None:
            await asyncio.sleep(max(call.at - (time.perf_counter() - began), 0.0))
            text = measure.words(round(call.prompt_tokens / tokens_each), ("replay", number, began))
            try:
                return await measure.ask(http, target.model, text, call.output_tokens)
            except (ProfileError, httpx.HTTPError):
                return None

        return list(await asyncio.gather(*(one(number, call) for number, call in enumerate(calls))))


def predicted(profile: Profile, calls: Sequence[Arrival]) -> Seen:
    """The same calls through the simulator."""
    run = simulate(alone(profile), calls)
    rows = [row for row in run.rows if row.how == "answered"]
    tokens = sum(row.output_tokens for row in rows)
    return Seen.of([row.first_s for row in rows], [row.whole_s for row in rows], tokens, run.end_s)


def alone(profile: Profile) -> Scenario:
    """One tier, one pool of one replica, and nothing else: the rest is in the profile's overhead."""
    assumed = Assumptions(shares={"only": 1.0}, cache_hits=0.0, prefix_share=0.0, failures_per_day=0.0)
    pool = PoolPlan(POOL, 10**6, profile, Size(1, max_ongoing=32, max_queued=256))
    tier = TierPlan("only", 0.0, {POOL: 1.0}, (0.0, 0.0, 0.0, 0.0))
    return Scenario(
        name="replay",
        pools={POOL: pool},
        tiers=(tier,),
        judges={},
        assumed=assumed,
        long_context=10**9,
        long_tier=None,
        max_in_flight=256,
        alongside=False,
        stride=48,
        deadline_s=300.0,
        first_token_s=60.0,
        recoveries=2,
        recalls=False,
    )


def show(simulated: Seen, measured: Seen) -> None:
    """Prediction beside measurement."""
    print(f"{'':18}{'predicted':>12}{'measured':>12}{'off':>8}{'goal':>8}")
    for name, goal in GOALS.items():
        guess, seen = simulated.figures[name], measured.figures[name]
        off = guess / seen - 1 if seen else 0.0
        print(f"{name:18}{guess:12.3f}{seen:12.3f}{off:+8.0%}{goal:8.0%}  {'kept' if abs(off) <= goal else 'MISSED'}")


def rules(recorded: Sequence[Arrival]) -> None:
    """Autoscaling rules on the simulator: calls outside the service level, and replica-hours."""
    base = scenario(load_file(ROOT / "configs" / "gpu.yaml"), Assumptions())
    mean = trace.scaled(recorded, RULES_TOKENS)
    start = sized(base, busiest(mean, 4000)).replicas
    calls = trace.swinging(trace.repeated(mean, RULES_TIMES), SWING, SWINGS)
    slow, fast = 1 / (1 + SWING), 1 / (1 - SWING)
    print(
        f"\nautoscaling, simulated: configs/gpu.yaml, {len(calls):,} calls in {trace.load(calls).span_s:,.0f} s, "
        f"{RULES_TOKENS / 1e9:g}B tokens a day\n"
        f"that swing {SWINGS} times between {slow:.1f} and {fast:.1f} of the mean; "
        f"all begin with what the mean needs; a cold start takes {base.assumed.cold_start_s:g} s"
    )
    print(f"{'':34}{'breaches':>10}{'shed':>8}{'failed':>8}{'replica-hours':>15}{'GPU-hours':>11}{'TTFT p99':>11}")
    for name, rule in RULES.items():
        found = outcome(simulate(ruled(base, rule, start), calls))
        hours = sum(fleet.replicas for fleet in found.fleets.values()) * found.span_s / 3600
        breaches = found.calls - round(found.good * found.calls)
        print(
            f"{name:34}{breaches:10,}{found.shed:8,}{found.failed:8,}{hours:15.2f}"
            f"{found.gpus * found.span_s / 3600:11.2f}{found.first_s.p99:10.2f}s"
        )


def ruled(base: Scenario, rule: Autoscale | None, start: Mapping[str, int]) -> Scenario:
    """With this rule in every pool of ours, within the config's bounds; None: the config's own."""
    return replace(base, pools={name: _ruled(pool, rule, start) for name, pool in base.pools.items()})


def _ruled(pool: PoolPlan, rule: Autoscale | None, start: Mapping[str, int]) -> PoolPlan:
    def of(size: Size, name: str) -> Size:
        was = size.autoscale or Autoscale()
        new = replace(rule, min_replicas=was.min_replicas, max_replicas=was.max_replicas) if rule else was
        return replace(size, replicas=start.get(name, size.replicas), autoscale=new)

    prefill = of(pool.prefill, f"{pool.name}/prefill") if pool.prefill else None
    return replace(pool, size=of(pool.size, pool.name), prefill=prefill)


@contextlib.contextmanager
def graph(url: str | None) -> Iterator[str]:
    """The URL, or that of the local config's graph, started for this and stopped after it."""
    if url:
        yield url.rstrip("/")
        return
    with tempfile.TemporaryDirectory() as state:
        os.environ["PENSTOCK_STATE"] = state
        import ray
        from ray import serve

        from graphs.chat import build

        config = load_file(ROOT / "configs" / "local.yaml")
        args = config.graph.model_dump(mode="json") | {"policy": config.policy.model_dump(mode="json")}
        ray.init("local", namespace="serve", include_dashboard=False, log_to_driver=False)
        try:
            serve.start(http_options={"port": PORT})
            serve.run(build(args), name="penstock", route_prefix="/")
            yield f"http://127.0.0.1:{PORT}"
        finally:
            serve.shutdown()
            ray.shutdown()


if __name__ == "__main__":
    main()
