"""The replicas of a pool, the queue before them, and who adds and takes away. simulate -> [fleet] -> replica.

A call goes to the less busy of two that are drawn, as Ray Serve's router does it, or to the one that holds most of its
prefix; all busy, it waits in a queue that has an end.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

import simpy

from app.planner.profile import Profile
from app.planner.replica import Counts, Job, Replica, Role

IMBALANCE = 8
"""Jobs by which a replica may be busier than the least busy one and still get a call for its prefix."""
WORK_WINDOW_S = 60.0
WORK_BATCH = 32
"""Answers at once for which the work of a call is reckoned."""
HEADROOM = 0.6
"""Of a replica's time that the `work` policy plans to use."""


@dataclass(frozen=True, slots=True)
class Autoscale:
    """When replicas come and go. Defaults of `ongoing` are Ray Serve's own.

    `ongoing`: calls under way against a target for each replica. `work`: the seconds of engine time that arrive,
    with their trend over a cold start, against HEADROOM; it sees a burst of long prompts before they pile up.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    target_ongoing: float = 2.0
    policy: Literal["ongoing", "work"] = "ongoing"
    interval_s: float = 10.0
    look_back_s: float = 30.0
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Size:
    """A fleet's settings. failures_per_day: of one replica; it is back after a cold start."""

    replicas: int
    max_ongoing: int = 64
    max_queued: int = 1024
    prefix_router: bool = False
    autoscale: Autoscale | None = None
    cold_start_s: float = 120.0
    failures_per_day: float = 0.0


class Fleet:
    """Replicas of one role."""

    def __init__(self, env: simpy.Environment, profile: Profile, size: Size, role: Role, seed: str) -> None:
        self._env, self._profile, self._size, self._role = env, profile, size, role
        self._rng = random.Random(seed)  # noqa: S311 - a simulation
        self._queue: deque[Job] = deque()
        self._replicas: list[Replica] = []
        self._past: list[Replica] = []
        self._starting: list[float] = []
        self._arrived: deque[tuple[float, float]] = deque()
        self.counts = Counts()
        self.most_replicas, self.failures = 0, 0
        for _ in range(size.replicas):
            self._add()
        if size.autoscale is not None:
            env.process(self._autoscale(size.autoscale))

    @property
    def ongoing(self) -> int:
        """Jobs in the replicas and before them."""
        return len(self._queue) + sum(one.ongoing for one in self._replicas)

    def submit(self, job: Job) -> bool:
        """Take a job on; False: the queue is full, or no replica is there or will be."""
        if not self._size.replicas and self._size.autoscale is None:
            return False
        if self._size.autoscale is not None and self._size.autoscale.policy == "work":
            self._arrived.append((self._env.now, self._work(job)))
        if len(self._queue) >= self._size.max_queued and self._pick(job) is None:
            return False
        self._queue.append(job)
        self._dispatch()
        return True

    def replica_seconds(self, until: float) -> float:
        """Time that replicas were held, with their cold starts, up to `until`."""
        held = sum(min(one.until, until) - min(one.since, until) for one in (*self._replicas, *self._past))
        return held + sum(max(until - since, 0.0) for since in self._starting)

    def _dispatch(self) -> None:
        while self._queue:
            replica = self._pick(self._queue[0])
            if replica is None:
                return
            replica.submit(self._queue.popleft())

    def _pick(self, job: Job) -> Replica | None:
        free = [r for r in self._replicas if not r.draining and r.ongoing < self._size.max_ongoing]
        if len(free) < 2:
            return free[0] if free else None
        if self._size.prefix_router and job.blocks:
            best = max(free, key=lambda one: one.match(job.blocks or ()))
            if best.match(job.blocks) and best.ongoing <= min(one.ongoing for one in free) + IMBALANCE:
                return best
        one, other = self._rng.sample(free, 2)
        return one if one.ongoing <= other.ongoing else other

    def _freed(self) -> None:
        self._retire()
        self._dispatch()

    def _add(self, since: float | None = None) -> None:
        replica = Replica(self._env, self._profile, self._role, self.counts, self._freed)
        replica.since = self._env.now if since is None else since
        self._replicas.append(replica)
        self.most_replicas = max(self.most_replicas, len(self._replicas))
        if self._size.failures_per_day > 0:
            self._env.process(self._fail(replica))
        self._dispatch()

    def _launch(self) -> Generator[simpy.Event, Any, None]:
        since = self._env.now
        self._starting.append(since)
        yield self._env.timeout(self._size.cold_start_s)
        self._starting.remove(since)
        self._add(since)

    def _fail(self, replica: Replica) -> Generator[simpy.Event, Any, None]:
        yield self._env.timeout(self._rng.expovariate(self._size.failures_per_day / 86_400))
        if replica in self._replicas:
            self._replicas.remove(replica)
            self._past.append(replica)
            self.failures += 1
            replica.stop()
            self._env.process(self._launch())

    def _retire(self) -> None:
        for one in [r for r in self._replicas if r.draining and not r.ongoing]:
            one.alive, one.until = False, self._env.now
            self._replicas.remove(one)
            self._past.append(one)

    def _autoscale(self, rule: Autoscale) -> Generator[simpy.Event, Any, None]:
        seen: deque[float] = deque(maxlen=max(round(rule.look_back_s / rule.interval_s), 1))
        above = below = 0.0
        while True:
            yield self._env.timeout(rule.interval_s)
            seen.append(self.ongoing)
            want = self._wanted(rule, sum(seen) / len(seen))
            have = sum(not one.draining for one in self._replicas) + len(self._starting)
            above = above + rule.interval_s if want > have else 0.0
            below = below + rule.interval_s if want < have else 0.0
            if above >= rule.upscale_delay_s or (above and rule.policy == "work"):
                for _ in range(want - have):
                    self._env.process(self._launch())
                above = 0.0
            elif below >= rule.downscale_delay_s:
                self._drain(have - want)
                below = 0.0

    def _wanted(self, rule: Autoscale, ongoing: float) -> int:
        needed = ongoing / rule.target_ongoing
        if rule.policy == "work":
            needed = max(self._busy_replicas() / HEADROOM, ongoing / max(rule.target_ongoing, 1.0) / 2)
        return min(max(math.ceil(needed), rule.min_replicas), rule.max_replicas)

    def _busy_replicas(self) -> float:
        """Replicas that the arriving work keeps busy, with its trend over a cold start."""
        now = self._env.now
        while self._arrived and self._arrived[0][0] < now - 2 * WORK_WINDOW_S:
            self._arrived.popleft()
        window = min(WORK_WINDOW_S, now) or 1.0
        late = sum(work for at, work in self._arrived if at >= now - window) / window
        early = sum(work for at, work in self._arrived if at < now - window) / window
        trend = (late - early) / window if now >= 2 * WORK_WINDOW_S else 0.0
        return float(max(late, late + trend * min(self._size.cold_start_s, WORK_WINDOW_S)))

    def _work(self, job: Job) -> float:
        return work_s(self._profile, job.prompt_tokens - job.cached, job.output_tokens, self._role)

    def _drain(self, count: int) -> None:
        for one in sorted((r for r in self._replicas if not r.draining), key=lambda r: r.ongoing)[:count]:
            one.draining = True
        self._retire()


def work_s(profile: Profile, prompt_tokens: int, output_tokens: int, role: Role = "both") -> float:
    """Seconds of a replica's time that a call takes in company of WORK_BATCH others."""
    batch = min(WORK_BATCH, profile.max_batch)
    context = prompt_tokens + output_tokens / 2
    read = profile.prefill_s(prompt_tokens) if role != "decode" else 0.0
    write = output_tokens * profile.step_s(batch, batch * context) / batch if role != "prefill" else 0.0
    return read + write
