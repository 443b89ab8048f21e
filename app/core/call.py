"""One call on its way through the stages: who, until when, what was found, what was spent."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from app.core.decisions import Decisions
from app.core.events import Message, Usage
from app.core.ports import Encoder, Principal, Reservation, Vector, Window
from app.core.vault import Vault

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The HTTP request that this context serves; empty outside one. For logs and traces."""
CALL_ID: ContextVar[str] = ContextVar("call_id", default="")
"""The call that this context runs; empty outside one. For logs."""


BATCH_LINE = "batch_line"
"""Where in an ASGI scope's `state` the BatchLine stands that a request is."""


@dataclass(slots=True)
class BatchLine:
    """A batch's line on its way through a route. serial: 24 hex digits, the same whenever this attempt is run again.

    So it settles the same usage row again, which the ledger takes once. who: in whose name it runs.
    """

    serial: str
    who: Principal
    calls: int = 0

    def number(self) -> str:
        """The next call's number: a line may be several calls, in an order that does not change."""
        self.calls += 1
        if self.calls == 1:
            return self.serial
        return hashlib.sha256(f"{self.serial}/{self.calls}".encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A stored answer that might have served and is compared with the fresh one. question: whose answer it is, as
    stored. score: the judge's, 0..1. answers: as stored.
    """

    question: str
    score: float
    answers: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Call:
    """State that stages share. Everything else travels as events.

    started, deadline, first_token, last_token, first_sent: seconds on the monotonic clock; created: Unix time.
    Tokens come from the engine; first_sent is when the first one left for the client.
    gaps, longest_gap: how often a Token followed another from the engine, and the longest wait for one, in seconds.
    spans: stage, start, end on the monotonic clock: how long each stage made the call wait. A stage that did so several
    times has one span, from its first start, as long as all of them together.
    screen: what the caller wants done with its own text when the moderator flags it: score | block; None: not judged.
    partition: where in the semantic cache its answer may be kept. trial: what the cache is unsure of and learns from.
    messages, params: as the caller sent them; seen: as the engine sees them, set before the stages that answer.
    tools: the names of the request's tools, as the engine sees them.
    told: what the engine counted, where that is not what is billed (`usage`). lost: pool and usage of engines that were
    given up. empty: the engine said nothing. cut: it told of more than can be. streamed: what it says is sent at once.
    traceparent: the caller's W3C trace header. decisions: what each stage decided; each stage writes its own.
    clamped: what `max_tokens` was lowered to; None: it was not.
    """

    id: str
    who: Principal
    deadline: float
    created: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    first_sent: float | None = None
    last_token: float | None = None
    gaps: int = 0
    longest_gap: float = 0.0
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    traceparent: str | None = None
    model: str = "auto"
    choices: int = 1
    batch: bool = False
    screen: str | None = None
    messages: tuple[Message, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    seen: tuple[Message, ...] = ()
    tools: frozenset[str] = frozenset()
    question: str = ""
    prompt_chars: int = 0
    prompt_tokens_low: int = 0
    prompt_tokens_high: int = 0
    max_completion: int = 0
    clamped: int | None = None
    read_cache: bool = True
    write_cache: bool = True
    vault: Vault = field(default_factory=Vault)
    reservation: Reservation | None = None
    windows: Mapping[str, Window] = field(default_factory=dict)
    partition: str | None = None
    comparison: Comparison | None = None
    tier: str | None = None
    plan: tuple[str, ...] = ()
    pool: str | None = None
    region: str | None = None
    hit: bool = False
    usage: Usage = field(default_factory=Usage)
    told: Usage | None = None
    lost: list[tuple[str, Usage]] = field(default_factory=list)
    empty: bool = False
    cut: bool = False
    streamed: bool = False
    cost: str = "0"
    decisions: Decisions = field(default_factory=Decisions)
    _tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    _embedded: tuple[str, asyncio.Task[Vector]] | None = None

    @property
    def trail(self) -> dict[str, dict[str, Any]]:
        """What each stage decided, by stage, as the audit record keeps it: a view of `decisions`."""
        return self.decisions.trail

    def timed(self, stage: str) -> Timed:
        """`with call.timed("scrub"):` around what makes the call wait; adds to the stage's span."""
        return Timed(self.spans, stage)

    def token(self) -> None:
        """Note that the engine has just sent a Token."""
        now = time.monotonic()
        if self.first_token is None:
            self.first_token = now
        if self.last_token is not None:
            self.gaps += 1
            self.longest_gap = max(self.longest_gap, now - self.last_token)
        self.last_token = now

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Start work that a later stage will wait for, so that stages overlap."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(_retrieved)
        self._tasks[name] = task

    async def finished(self, name: str) -> Any:
        """What the work under this name returns or raises; a stage has started it."""
        return await self._tasks[name]

    async def embed(self, encoder: Encoder, text: str) -> Vector:
        """The text's vector, float32 (dim,). One encoder pass a text: cache and router share it."""
        self.begin_embed(encoder, text)
        assert self._embedded is not None  # noqa: S101 - begin_embed has just set it
        return await asyncio.shield(self._embedded[1])

    def begin_embed(self, encoder: Encoder, text: str) -> None:
        """Start that pass unless it already runs for this text."""
        if self._embedded and self._embedded[0] == text:
            return
        if self._embedded:
            self._embedded[1].cancel()
        task = asyncio.ensure_future(_first(encoder, text))
        task.add_done_callback(_retrieved)
        self._embedded = (text, task)

    def close(self) -> None:
        """End whatever is still running for this call."""
        for task in self._tasks.values():
            task.cancel()
        if self._embedded:
            self._embedded[1].cancel()

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def queued(self) -> float | None:
        """Seconds from arrival until an engine was asked; None when none was, or none has ended yet."""
        return next((start - self.started for stage, start, _ in self.spans if stage == "generate"), None)

    @property
    def mean_gap(self) -> float | None:
        """Mean seconds between the engine's Tokens; None below two of them."""
        if not self.gaps or self.first_token is None or self.last_token is None:
            return None
        return (self.last_token - self.first_token) / self.gaps


class Timed:
    """Adds the time spent inside to a stage's span."""

    __slots__ = ("_spans", "_stage", "_start")

    def __init__(self, spans: list[tuple[str, float, float]], stage: str) -> None:
        self._spans = spans
        self._stage = stage
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        for at, (stage, start, end) in enumerate(self._spans):
            if stage == self._stage:
                self._spans[at] = (stage, start, end + now - self._start)
                return
        self._spans.append((self._stage, self._start, now))


async def _first(encoder: Encoder, text: str) -> Vector:
    vectors = await encoder.encode([text])
    vector: Vector = vectors[0]
    return vector


def _retrieved(task: asyncio.Task[Any]) -> None:
    """A task that nobody came to await must not complain at exit: its failure is raised where it is awaited."""
    if not task.cancelled():
        task.exception()
