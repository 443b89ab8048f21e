"""Ports: what a room needs from something heavy or outside. Adapters implement them with real libraries.

Every port is small, async, and holds to one contract on its fake and its real adapters (tests/contracts).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.events import Message, Token, Usage

Vector = NDArray[np.float32]


# -- generation ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generation:
    """One request to an engine. `params`: OpenAI sampling fields. `salt` isolates the prefix cache per tenant."""

    call_id: str
    messages: tuple[Message, ...]
    params: Mapping[str, Any]
    salt: str | None = None


class EngineError(Exception):
    """An engine could not answer.

    retryable: another pool may succeed (dead, overloaded, timed out). False: the request itself is at fault.
    code: OpenAI's error code when known, e.g. `context_length_exceeded`.
    """

    def __init__(self, message: str, *, retryable: bool, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.code = code
        self.param = param


class Engine(Protocol):
    """Generates. Closing the iterator aborts the generation in the engine."""

    def generate(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        """Yield Tokens as they come, and cumulative Usage: last, and before each Token it counts where it is known
        by then, so that a caller who leaves at that Token is billed for it. Raises EngineError.
        """
        ...

    async def ready(self) -> bool:
        """Whether the engine answers now. Never raises."""
        ...


class PortError(Exception):
    """A port's adapter does not answer: its replica is gone, overloaded or late. `port` names it."""

    def __init__(self, port: str, why: str) -> None:
        super().__init__(f"{port}: {why}")
        self.port = port


# -- judges -------------------------------------------------------------------------------------


class Encoder(Protocol):
    """Texts to vectors."""

    async def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 (len(texts), dim), rows of unit length."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Personal data found in a text: [start, end) in characters, its type (`PERSON`, ...), score 0..1."""

    start: int
    end: int
    type: str
    score: float


class Scrubber(Protocol):
    """Finds personal data."""

    async def scan(self, texts: Sequence[str]) -> list[list[Span]]:
        """For each text its spans, sorted by start, never overlapping."""
        ...


class Classifier(Protocol):
    """Judges texts: injection, toxicity."""

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """For each text its labels' scores, 0..1. Empty text scores 0 on every label."""
        ...


class Complexity(Protocol):
    """Judges how strong a model a prompt needs."""

    async def score(self, text: str, vector: Vector) -> float:
        """How much the prompt needs a stronger model, 0..1. vector: float32 (dim,), the text's embedding."""
        ...


# -- semantic cache -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored answer. score: cosine of the two questions, -1..1. entry: what was stored, as given."""

    score: float
    question: str
    entry: Mapping[str, Any]


class Index(Protocol):
    """The semantic cache, partitioned by everything that must agree exactly."""

    async def lookup(self, partition: str, vector: Vector, threshold: float) -> Hit | None:
        """The nearest live entry of this partition at or above the threshold, else None."""
        ...

    async def store(self, partition: str, vector: Vector, question: str, entry: Mapping[str, Any], ttl: float) -> None:
        """Keep `entry` (JSON values only) for `ttl` seconds. The same question again replaces the old entry."""
        ...

    async def size(self) -> int:
        """How many live entries are held."""
        ...


# -- ledger -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the key's row, without the key. `key_id` and `tenant` are safe to log."""

    tenant: str
    key_id: str
    scopes: frozenset[str] = frozenset()
    requests_per_minute: int = 0
    tokens_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """One rate limit after this call: allowed per minute, left now, seconds until it is full again."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """The worst case, set aside until settlement."""

    id: str
    cost: Decimal
    tokens: int
    windows: Mapping[str, Window] = field(default_factory=dict)  # "requests", "tokens"


@dataclass(frozen=True, slots=True)
class Denied:
    """The ledger's no. reason: requests | tokens | budget. retry_after: seconds (0 where waiting is useless)."""

    reason: str
    retry_after: float = 0.0
    windows: Mapping[str, Window] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One call, as billed: immutable, written once. Times in seconds, money in the price list's currency."""

    id: str
    created: float
    tenant: str
    key_id: str
    model: str
    tier: str | None
    pool: str | None
    region: str | None
    outcome: str  # ok | hit | refused | failed | hangup
    refused_by: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost: Decimal
    price_list: str
    ttft: float | None
    latency: float
    trail: Mapping[str, Any] = field(default_factory=dict)


class Ledger(Protocol):
    """Who calls, what is set aside, what was billed."""

    async def identify(self, key: str) -> Principal | None:
        """The live key's owner, or None. Compares hashes only; the key itself is never stored."""
        ...

    async def reserve(self, who: Principal, call_id: str, tokens: int, cost: Decimal) -> Reservation | Denied:
        """Set the worst case aside, atomically over all gateways, or say why not. tokens: prompt + completion."""
        ...

    async def settle(self, reservation: Reservation | None, row: UsageRow) -> None:
        """Write the row and release the reservation, in one transaction. The same `row.id` again is a no-op."""
        ...

    async def ready(self) -> bool:
        """Whether the database answers. Never raises."""
        ...
