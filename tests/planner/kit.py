"""Small graphs for the planner: engines of round figures, streams of chosen lengths."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.config import load_file
from app.planner.fleet import Size
from app.planner.profile import DecodePoint, PrefillPoint, Profile
from app.planner.scenario import Assumptions, PoolPlan, Scenario, TierPlan, scenario
from app.planner.trace import Arrival

ROOT = Path(__file__).parents[2]
PRICE = (1.0, 0.5, 4.0, 0.1)
SURE = Assumptions(cache_hits=0.0, prefix_share=0.0, failures_per_day=0.0, shares={"only": 1.0})


def profile(**changes: Any) -> Profile:
    """1,000 prompt tokens a second; a step of 10 ms, whatever the batch."""
    return Profile(
        **{
            "name": "round",
            "source": "a test",
            "kind": "measured",
            "prefill": [PrefillPoint(prompt_tokens=100, tokens_per_second=1000)],
            "decode": [DecodePoint(batch=1, step_s=0.01)],
            "kv_bytes_per_token": 1000,
            "kv_tokens": 1_000_000,
            "gpus": 1.0,
            **changes,
        }
    )


def pool(name: str = "a", size: Size | None = None, **changes: Any) -> PoolPlan:
    return PoolPlan(name, 100_000, changes.pop("profile", profile()), size or Size(1, max_ongoing=256), **changes)


def graph(*pools: PoolPlan, assumed: Assumptions = SURE, **changes: Any) -> Scenario:
    """One tier over the pools, no judges."""
    pools = pools or (pool(),)
    tier = TierPlan("only", 0.0, {one.name: 1.0 for one in pools}, PRICE)
    whole = Scenario(
        "test",
        {one.name: one for one in pools},
        (tier,),
        {},
        assumed,
        10**9,
        None,
        10**6,
        False,
        48,
        10**6,
        10**6,
        2,
        True,
    )
    return replace(whole, **changes)


def poisson(calls: int, rate: float, prompt: int = 100, output: int = 1, seed: int = 7) -> list[Arrival]:
    rng, at, found = random.Random(seed), 0.0, []
    for _ in range(calls):
        found.append(Arrival(at, prompt, output))
        at += rng.expovariate(rate)
    return found


def gpu_scenario(**assumed: Any) -> Scenario:
    """The shipped GPU config."""
    return scenario(load_file(ROOT / "configs" / "gpu.yaml"), Assumptions(**assumed))


def values(rows: Sequence[Any], name: str) -> list[float]:
    return [getattr(row, name) for row in rows if row.how == "answered"]
