"""The plan: which runs answer which question, and what they say together. cli -> [plan] -> report.

Each question is a `Task`; tasks run in processes beside each other. Sizes are found on the busiest stretch of the
trace; the first table's rows are then run on the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, Self

from app.config import Config, ConfigError, VllmPool
from app.planner.claims import (
    ALL_OFF,
    NO_PREFIX,
    NO_ROUTING,
    NO_SEMANTIC,
    ON,
    REPEATING,
    SPLIT,
    TOGETHER,
    Claim,
    claims,
)
from app.planner.outcome import Outcome, outcome, times
from app.planner.profile import Profile
from app.planner.roofline import hardware, roofline
from app.planner.scenario import Assumptions, Scenario, scenario
from app.planner.simulate import simulate
from app.planner.sizing import busiest, sized
from app.planner.trace import DAY_S, Arrival, Load, load, scaled

CELL_TOKENS = 5e9
"""Tokens a day of one installation of many: larger loads are planned as so many equal ones side by side."""
SLICE_CALLS = 4000
STRICT_GAP_S = 0.03
GPU_STEPS = (0.5, 1, 2, 4, 8)
Depth = Literal["configured", "whole", "slice"]


@dataclass(frozen=True, slots=True)
class Task:
    """One run. table and label: where it goes. whole: as configured, or sized and then run on the whole trace."""

    table: str
    label: str
    scenario: Scenario
    tokens_per_day: float
    depth: Depth = "slice"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task found. replicas: by fleet, of one cell; met: whether the service level is."""

    table: str
    label: str
    tokens_per_day: float
    replicas: dict[str, int]
    met: bool
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Ask:
    """What is planned for. think_s: what a user waits between an answer and the next question."""

    tokens_per_day: float = 1e9
    users: int = 100_000
    think_s: float = 120.0
    workers: int = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was found. users_per_day: tokens a day of the asked users; gap_per_user_s: seconds between a
    user's calls, if so many shared the asked tokens.
    """

    asked: Ask
    recorded: Load
    assumed: Assumptions
    sources: dict[str, str]
    answers: list[Answer]
    users_tokens_per_day: float
    gap_per_user_s: float
    claims: list[Claim]

    def table(self, name: str) -> list[Answer]:
        """The answers of one table, in order."""
        return [one for one in self.answers if one.table == name]


def plan(
    config: Config, trace: Sequence[Arrival], assumed: Assumptions, asked: Ask, profiles: Mapping[str, Profile]
) -> Plan:
    """Run everything. Raises ConfigError, TraceError."""
    base = scenario(config, assumed, profiles)
    target = asked.tokens_per_day
    with Runner(trace, asked.workers) as runner:
        first = runner.run([
            Task("configured", "as configured", base, target, "configured"),
            *(Task("switches", one.name, one, target, "whole") for one in switches(base)),
        ])  # fmt: skip
        whole_s = first[1].outcome.mean_whole_s
        recorded = load(trace)
        each = (recorded.prompt_tokens + recorded.output_tokens) / recorded.calls
        of_users = asked.users / (asked.think_s + whole_s) * each * DAY_S
        rest = [*_scales(base, target, of_users), *_gpus(config, base, target), *_sensitivity(base, target)]
        answers = [*first, *runner.run(rest)]
        answers += runner.run(_cheapest_mix(config, base, answers, target))
    sources = {name: pool.profile.source for name, pool in base.pools.items() if pool.profile}
    gap = asked.users * each * DAY_S / target
    return Plan(asked, recorded, base.assumed, sources, answers, of_users, gap, claims(answers, base))


def switches(base: Scenario) -> list[Scenario]:
    """The graph, and the graph with each of its economies off, by the names that `claims` compares."""
    return [
        base.named(ON),
        base.named(NO_ROUTING, routing=False),
        base.named(NO_SEMANTIC, cache_hits=0.0),
        base.named(NO_PREFIX, prefix_share=0.0),
        base.split(on=False).named(TOGETHER),
        base.split(on=True).named(SPLIT),
        base.split(on=False).named(ALL_OFF, routing=False, cache_hits=0.0, prefix_share=0.0),
    ]


def _scales(base: Scenario, target: float, of_users: float) -> Iterable[Task]:
    for table, tokens in (("ten times", 10 * target), ("users", of_users)):
        for one in switches(base):
            yield Task(table, one.name, one, tokens)
    strict = replace(base, assumed=replace(base.assumed, target_gap_s=STRICT_GAP_S))
    for on in (False, True):
        label = SPLIT if on else TOGETHER
        yield Task("strict", label, strict.split(on=on).named(label), of_users)
    yield Task("repeating", REPEATING, base.named(REPEATING, prefix_share=0.9), of_users)


def _sensitivity(base: Scenario, target: float) -> Iterable[Task]:
    for what, key, values in (
        ("semantic cache hits", "cache_hits", (0.0, 0.2, 0.4)),
        ("prefix cache share", "prefix_share", (0.0, 0.6, 0.9)),
        ("time to first token, s", "target_first_s", (0.5, 1.0, 5.0)),
        ("gap between tokens, s", "target_gap_s", (0.03, 0.05, 0.2)),
    ):
        for value in values:
            label = f"{what} = {value:g}"
            yield Task("sensitivity", label, base.named(label, **{key: value}), target)
    for failures in (10.0, 50.0):
        label = f"failures of a replica a day = {failures:g}"
        yield Task("sensitivity", label, base.named(label, failures_per_day=failures), target, "whole")
    for factor in (0.7, 1.3):
        label = f"engines {factor:g} x as fast"
        yield Task("sensitivity", label, replace(faster(base, factor), name=label), target)
    for factor in (0.5, 2.0, 5.0):
        yield Task("sensitivity", f"load x {factor:g}", base.named(f"load x {factor:g}"), target * factor)


def faster(base: Scenario, factor: float) -> Scenario:
    """With engines that do everything so many times as fast."""
    pools = {}
    for name, pool in base.pools.items():
        profile = pool.profile
        if profile is not None:
            rates = [p.model_copy(update={"tokens_per_second": p.tokens_per_second * factor}) for p in profile.prefill]
            steps = [p.model_copy(update={"step_s": p.step_s / factor}) for p in profile.decode]
            update = {"prefill": rates, "decode": steps, "kv_read_s": profile.kv_read_s / factor}
            profile = profile.model_copy(update=update)
        pools[name] = replace(pool, profile=profile)
    return replace(base, pools=pools)


def on_gpu(config: Config, base: Scenario, choice: Mapping[str, str]) -> Scenario:
    """With these pools on other GPUs (pool -> GPU), as many to a replica as hold the weights and two long contexts.

    Raises ConfigError where eight do not, or the model is not known.
    """
    pools = dict(base.pools)
    for name, gpu in choice.items():
        pool = config.graph.pools[name]
        if not isinstance(pool, VllmPool):
            continue
        profile = _fitting(gpu, pool, base.pools[name].profile)
        pools[name] = replace(base.pools[name], profile=profile, gpu_hour=hardware().gpus[gpu].gpu_hour)
    return replace(base, pools=pools)


def _fitting(gpu: str, pool: VllmPool, was: Profile | None) -> Profile:
    for count in GPU_STEPS:
        if count < 1 and (was is None or was.gpus >= 1):
            continue
        try:
            share = 0.42 if count < 1 else 0.9
            profile = roofline(gpu, pool.source.removeprefix("hub:"), count, memory_share=share)
        except ConfigError:
            continue
        if profile.kv_tokens >= 2 * pool.max_context:
            return profile
    msg = f"{pool.source} does not fit on {GPU_STEPS[-1]:g} x {gpu}, or is not known"
    raise ConfigError(msg)


def _gpus(config: Config, base: Scenario, target: float) -> Iterable[Task]:
    """Every pool of ours on each GPU; a GPU that cannot hold one of the models is left out."""
    names = [name for name, pool in base.pools.items() if pool.profile and pool.profile.kind == "roofline"]
    for gpu in hardware().gpus if names else ():
        try:
            yield Task("gpus", gpu, on_gpu(config, base, dict.fromkeys(names, gpu)).named(gpu), target)
        except ConfigError:
            continue


def _cheapest_mix(config: Config, base: Scenario, answers: Iterable[Answer], target: float) -> list[Task]:
    """Each pool on the GPU where it was cheapest and kept the service level."""
    best: dict[str, tuple[float, str]] = {}
    for one in answers:
        if one.table != "gpus" or not one.met:
            continue
        hour = hardware().gpus[one.label].gpu_hour
        for pool in base.pools:
            fleets = [f for name, f in one.outcome.fleets.items() if name.removesuffix("/prefill") == pool]
            cost = sum(fleet.gpus for fleet in fleets) * hour
            if fleets and (pool not in best or cost < best[pool][0]):
                best[pool] = (cost, one.label)
    if not best:
        return []
    label = "the cheapest of each: " + ", ".join(f"{pool} on {gpu}" for pool, (_, gpu) in best.items())
    mixed = on_gpu(config, base, {pool: gpu for pool, (_, gpu) in best.items()})
    return [Task("gpus", label, mixed.named(label), target)]


class Runner:
    """A context that runs tasks, in processes of their own where there are several workers."""

    def __init__(self, trace: Sequence[Arrival], workers: int) -> None:
        self._trace, self._workers = list(trace), workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._workers > 1:
            self._executor = ProcessPoolExecutor(self._workers, initializer=_give, initargs=(self._trace,))
        else:
            _give(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def run(self, tasks: Iterable[Task]) -> list[Answer]:
        """Their answers, in order."""
        return list(self._executor.map(answer, tasks) if self._executor else map(answer, tasks))


_recorded: list[Arrival] = []
"""The trace of this process: sent once, not with every task."""


def _give(trace: list[Arrival]) -> None:
    _recorded[:] = trace


def answer(task: Task) -> Answer:
    """Run one task on this process's trace."""
    cells = max(round(task.tokens_per_day / CELL_TOKENS), 1)
    day = task.tokens_per_day / cells
    trace = scaled(_recorded, day)
    if task.depth == "configured":
        found = outcome(simulate(task.scenario, trace), day)
        return Answer(task.table, task.label, task.tokens_per_day, {}, found.good >= 0.95, times(found, cells))
    fit = sized(task.scenario, busiest(trace, max(SLICE_CALLS, len(trace) // 10)), day)
    found = outcome(simulate(fit.scenario, trace), day) if task.depth == "whole" else fit.outcome
    return Answer(task.table, task.label, task.tokens_per_day, fit.replicas, fit.met, times(found, cells))
