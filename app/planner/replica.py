"""One engine of a pool: continuous batching as vLLM does it, or only one of its halves. fleet -> [replica].

A step reads a chunk of the waiting prompts and gives every running answer a token. While no prompt waits, steps are
skipped over up to the next one that ends an answer, so that a run takes events by calls and not by tokens.
Simplified: an answer's whole context is reserved when it starts (no preemption), and a step's two parts add up.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import simpy

from app.planner.profile import Profile
from app.planner.stats import Histogram
from app.planner.trace import BLOCK_TOKENS

Role = Literal["both", "prefill", "decode"]
CHUNK_TOKENS = 2048
"""Prompt tokens that a step reads at most: vLLM's `max_num_batched_tokens`."""
_ORDER = itertools.count()


@dataclass(slots=True, eq=False)
class Job:
    """One generation on its way. end: succeeds with `done`, `late` (no first token by `expires`) or `lost`.

    cached: prompt tokens that the prefix cache is assumed to hold, where the trace does not know its blocks.
    """

    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] | None
    cached: int
    expires: float
    end: simpy.Event
    first_at: float | None = None
    finish_step: int = 0
    left: int = 0
    replica: Replica | None = None

    @property
    def room(self) -> int:
        """Tokens of KV cache that it takes at its end."""
        return self.prompt_tokens + self.output_tokens


@dataclass(slots=True)
class Counts:
    """What the replicas of a fleet have done together. gaps: seconds between an answer's tokens."""

    gaps: Histogram = field(default_factory=Histogram)
    busy_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


class Replica:
    """A running engine. `on_free` is called whenever a job has left it."""

    def __init__(self, env: simpy.Environment, profile: Profile, role: Role, counts: Counts, on_free: Any) -> None:
        self._env, self._profile, self._role, self._counts, self._on_free = env, profile, role, counts, on_free
        self._waiting: deque[Job] = deque()
        self._running: list[tuple[int, int, Job]] = []
        self._step, self._context, self._reserved = 0, 0, 0
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._wake: simpy.Event | None = None
        self._skipping = False
        self._reading: list[Job] = []
        self.alive, self.draining = True, False
        self.since, self.until = env.now, math.inf
        self._process = env.process(self._run())

    @property
    def ongoing(self) -> int:
        """Jobs that it has."""
        return len(self._waiting) + len(self._reading) + len(self._running)

    def match(self, blocks: tuple[int, ...]) -> int:
        """How many leading blocks of a prompt it holds."""
        return sum(1 for _ in itertools.takewhile(self._blocks.__contains__, blocks))

    def submit(self, job: Job) -> None:
        """Take a job on."""
        job.replica = self
        self._waiting.append(job)
        if self._wake is not None and not self._wake.triggered:
            self._wake.succeed()
        elif self._skipping and self._fits(job):
            self._skipping = False
            self._process.interrupt()

    def stop(self) -> None:
        """Fail: every job that it has is lost."""
        self.alive, self.until = False, self._env.now
        jobs = [*self._waiting, *self._reading, *(job for _, _, job in self._running)]
        self._waiting.clear()
        self._reading.clear()
        self._running.clear()
        for job in jobs:
            if not job.end.triggered:
                job.end.succeed("lost")

    def _run(self) -> Generator[simpy.Event, Any, None]:
        while self.alive:
            self._admit()
            if self._reading:
                yield from self._read()
            elif self._running:
                yield from self._write()
            else:
                self._wake = self._env.event()
                yield self._wake
                self._wake = None

    def _fits(self, job: Job) -> bool:
        taken = len(self._running) + len(self._reading)
        room = self._reserved + job.room <= self._profile.kv_tokens
        return not taken or (taken < self._profile.max_batch and room)

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0]):
            job = self._waiting.popleft()
            if self._env.now > job.expires:
                self._leave(job, "late")
                continue
            self._reserved += job.room
            if self._role == "decode":
                job.first_at = self._env.now + self._profile.step_s(len(self._running) + 1, self._context)
                self._start(job, job.output_tokens)
                continue
            job.left = job.prompt_tokens - self._held(job)
            self._reading.append(job)

    def _held(self, job: Job) -> int:
        """Prompt tokens that need no reading; the last one always does."""
        held = job.cached
        if job.blocks is not None:
            held = self.match(job.blocks) * BLOCK_TOKENS
            for block in job.blocks:
                self._blocks[block] = None
                self._blocks.move_to_end(block)
            while len(self._blocks) > max(self._profile.kv_tokens // BLOCK_TOKENS, 1):
                self._blocks.popitem(last=False)
        job.cached = min(held, job.prompt_tokens - 1)
        self._counts.prompt_tokens += job.prompt_tokens
        self._counts.cached_tokens += job.cached
        return job.cached

    def _read(self) -> Generator[simpy.Event, Any, None]:
        """One step with a chunk of prompts in it."""
        budget, read_s, through = CHUNK_TOKENS, 0.0, []
        for job in self._reading:
            part = min(job.left, budget)
            read_s += self._profile.prefill_s(job.prompt_tokens) * part / job.prompt_tokens
            job.left, budget = job.left - part, budget - part
            if not job.left:
                through.append(job)
            if not budget:
                break
        batch = len(self._running)
        seconds = read_s + (self._profile.step_s(batch, self._context) if batch else 0.0)
        yield self._env.timeout(seconds)
        self._after(1, seconds, batch)
        if not self.alive:
            return
        for job in through:
            self._reading.remove(job)
            self._answer(job)

    def _answer(self, job: Job) -> None:
        """Its prompt is read, and its first token written."""
        if self._role == "prefill":
            self._reserved -= job.room
            self._leave(job, "done")
            return
        job.first_at = self._env.now
        self._counts.output_tokens += 1
        if job.output_tokens == 1:
            self._reserved -= job.room
            self._leave(job, "done")
        else:
            self._start(job, job.output_tokens - 1)

    def _start(self, job: Job, steps: int) -> None:
        job.finish_step = self._step + steps
        self._context += job.prompt_tokens + job.output_tokens - steps
        heapq.heappush(self._running, (job.finish_step, next(_ORDER), job))

    def _write(self) -> Generator[simpy.Event, Any, None]:
        """Steps up to the next answer's end, or up to a prompt that comes."""
        batch, steps = len(self._running), self._running[0][0] - self._step
        began, seconds = self._env.now, self._seconds(steps, batch)
        self._skipping = True
        try:
            yield self._env.timeout(seconds)
        except simpy.Interrupt:
            passed = self._env.now - began
            steps = min(max(math.ceil(steps * passed / seconds), 1), steps)
            seconds = max(self._seconds(steps, batch), passed)
            yield self._env.timeout(seconds - passed)
        self._skipping = False
        self._after(steps, seconds, batch)

    def _seconds(self, steps: int, batch: int) -> float:
        """Of so many steps, whose context grows by the batch with each."""
        grown = steps * self._context + batch * steps * (steps - 1) / 2
        return steps * self._profile.step_s(batch, 0.0) + self._profile.kv_read_s * grown

    def _after(self, steps: int, seconds: float, batch: int) -> None:
        """Count the steps, and let go of the answers that are complete."""
        self._counts.busy_s += seconds
        if not self.alive:
            return
        self._step += steps
        self._context += steps * batch
        self._counts.output_tokens += steps * batch
        self._counts.gaps.add(seconds / steps, steps * batch)
        while self._running and self._running[0][0] <= self._step:
            _, _, job = heapq.heappop(self._running)
            self._context -= job.room
            self._reserved -= job.room
            self._leave(job, "done")

    def _leave(self, job: Job, how: str) -> None:
        if not job.end.triggered:
            job.end.succeed(how)
        self._on_free()
