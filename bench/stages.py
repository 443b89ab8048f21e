"""What the stages cost: the real judges in this process, an instant engine, one call at a time.

    python bench/stages.py [ROUNDS]

Prints the p50 of a call with every optional stage off, with each one alone, and with all of them, measured in turns in
one run; then how all of them compare with the slowest single one: they overlap where they can.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

from app.config import STAGES, Config, load_file
from app.core.events import Message, Prompt
from app.core.ports import Principal
from app.pipeline.gateway import Gateway
from app.runtime.wiring import wire
from app.testing.fakes import FakeBooks, FakeEngine

ROOT = Path(__file__).parents[1]
WHO = Principal("bench", "key")
OPTIONAL = {
    "scrub": {"scrub", "restore"},
    "guard": {"guard"},
    "recall": {"recall", "remember"},
    "moderate": {"moderate"},
}
TEXT = (
    "Please explain in two short paragraphs how a penstock feeds a water turbine, what can go wrong with it in winter, "
)
CALLS = 20


def gateway(config: Config) -> Gateway:
    """The config's own judges, all inline; pools answer at once. The cache begins empty and leaves nothing."""
    if cache := config.graph.configured("cache"):
        cache.options["store"] = None
    engine = FakeEngine("A penstock is a pipe that carries water under pressure to a turbine.")
    ports = wire(config.graph, FakeBooks(), engines=dict.fromkeys(config.graph.pools, engine))
    made = Gateway(config.graph, ports)
    made.apply(config.policy)
    return made


async def once(made: Gateway, number: int) -> float:
    """Seconds of one call; every prompt is new to the cache."""
    prompt = Prompt((Message("user", f"{TEXT}and who looks after number {number}?"),), "small")
    started = time.perf_counter()
    _, events = made.open(WHO, prompt)
    async for _ in events:
        pass
    return time.perf_counter() - started


async def main(rounds: int) -> None:
    """A round measures every variant once, so that the machine's moods hit all alike."""
    config = load_file(ROOT / "configs" / "local.yaml")
    made = gateway(config)
    off = {name: set().union(*(stages for other, stages in OPTIONAL.items() if other != name)) for name in OPTIONAL}
    variants = {"no room": set().union(*OPTIONAL.values()), **off, "all stages": set()}
    medians: dict[str, list[float]] = {name: [] for name in variants}
    number = 0
    for turn in range(rounds + 1):
        for name, left_out in variants.items():
            made.apply(config.policy.model_copy(update={"stages": [r for r in STAGES if r not in left_out]}))
            times = [await once(made, number := number + 1) for _ in range(CALLS)]
            if turn:  # the first round warms up
                medians[name].append(statistics.median(times) * 1000)
    for name, found in medians.items():
        print(f"{name:10} p50 {statistics.median(found):6.1f} ms   ({min(found):.1f} to {max(found):.1f})")
    single = max(statistics.median(medians[name]) for name in OPTIONAL)
    print(f"all stages / slowest single stage: {statistics.median(medians['all stages']) / single:.2f}x")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
