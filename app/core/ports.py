"""Ports: what a stage needs from something heavy or outside. Adapters implement them with real libraries.

Every port is small, async, and holds to one contract on its fake and its real adapters (tests/contracts).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.events import Message, Token, Usage
from app.core.owner import Owner

Vector = NDArray[np.float32]


# -- generation ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Generation:
    """One request to an engine. `params`: OpenAI sampling fields. `salt` isolates the prefix cache per tenant.

    raw: as events.Prompt. resume: the last message is an assistant's, to be continued where it stops; of a raw
    request, its text already holds what was answered so far.
    background: after every other request, where the engine knows priorities.
    """

    call_id: str
    messages: tuple[Message, ...]
    params: Mapping[str, Any]
    salt: str | None = None
    raw: bool = False
    resume: bool = False
    background: bool = False


REPLICA_LOST = "replica_lost"
"""The code of a (retryable) EngineError after which the engine itself is gone: the request may be why."""


class EngineError(Exception):
    """An engine could not answer.

    retryable: another pool may succeed (dead, overloaded, timed out). False: the request itself is at fault.
    code: OpenAI's error code when known, e.g. `context_length_exceeded`; REPLICA_LOST where the engine went away with
    this request in it. worked: it had begun to work on the request, which costs somebody something.
    """

    def __init__(self, message: str, *, retryable: bool, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.code = code
        self.param = param
        self.worked = False


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


class Tokenizer(Protocol):
    """Text to tokens and back, in the gateway. Not async: for much text, call it in a thread."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """The text's ids. special: with those that the model's own template adds to a text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The ids' text, special ones and all. Raises ValueError for an id that is none."""
        ...

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> str | None:
        """The chat as the model reads it; None: it has no template. prompt: with what begins an answer. tools: as the
        chat API has them. more: arguments of the template.

        Raises ValueError: the template refuses these messages, in its own words.
        """
        ...

    def info(self) -> Mapping[str, Any]:
        """What the model says of its tokenizer: names of special tokens, the chat template."""
        ...


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


class ParaphraseJudge(Protocol):
    """Judges whether one question asks what another asked."""

    async def score(self, question: str, others: Sequence[str]) -> list[float]:
        """For each of `others`: how sure its answer also answers `question`, 0..1."""
        ...


# -- semantic cache -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored answer. score: cosine of the two questions, -1..1. question, entry: as stored.

    tried: how this entry's comparisons ended, newest last, at most 64: (the judge's score 0..1, whether the entry's
    answer would have served). An entry stored again begins anew.
    """

    score: float
    question: str
    entry: Mapping[str, Any]
    tried: tuple[tuple[float, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class CacheMatch:
    """What a lookup found. hits: nearest first. evidence: the tenant's comparisons over all its entries, those that
    have left too, newest last, at most 512.
    """

    hits: tuple[Hit, ...] = ()
    evidence: tuple[tuple[float, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Stock:
    """What the semantic cache holds. tenants: tenant -> (live entries, bytes of memory). evicted: entries that made
    room for others since the start.

    saving: whether what is stored also reaches the store that survives a restart; None where there is no such store.
    """

    tenants: Mapping[str, tuple[int, int]]
    evicted: int = 0
    saving: bool | None = None


class Index(Protocol):
    """The semantic cache, partitioned by everything that must agree exactly.

    partition: `tenant/model/version/hash`, the first three percent-quoted; no lookup sees another partition.
    """

    async def exact(self, partition: str, question: str) -> Hit | None:
        """The live entry of this very question, whatever its blanks; its score is 1."""
        ...

    async def lookup(self, partition: str, vector: Vector, floor: float, most: int = 4) -> CacheMatch:
        """The nearest live entries of this partition, at or above `floor`, at most `most`."""
        ...

    async def store(  # noqa: PLR0917 - six things make an entry
        self,
        partition: str,
        vector: Vector,
        question: str,
        entry: Mapping[str, Any],
        ttl: float,
        worth: float = 0.0,
    ) -> None:
        """Keep `entry` (JSON values only) for `ttl` seconds. The same question again replaces the old entry.

        worth: the money that one hit saves, weighed against the entry's size where something must leave.
        """
        ...

    async def learn(self, partition: str, question: str, score: float, right: bool) -> None:  # noqa: FBT001 - a pair with score
        """Add a comparison's outcome to this question's entry, if it still lives, and to its tenant's evidence."""
        ...

    async def forget(self, tenant: str | None = None, model: str | None = None, version: str | None = None) -> int:
        """Drop every entry of these, None being any, and say how many. A whole tenant's evidence leaves as well."""
        ...

    async def size(self) -> int:
        """How many live entries are held."""
        ...

    async def stock(self) -> Stock:
        """What is held, tenant by tenant."""
        ...


# -- ledger -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limit:
    """One rate limit of one level. owner: `key:ID`, `project:ID` or `tenant:ID`.

    kind: requests | tokens | concurrent; per: minute (a bucket of `amount * burst`), day (UTC) or now (concurrent).
    model: a model id, tier or `auto` that it holds for; `*` is every call. why: what the caller is told of it.
    """

    owner: str
    kind: str
    per: str
    amount: int
    burst: float = 1.0
    model: str = "*"
    why: str = ""

    @property
    def name(self) -> str:
        """What tells this counter from the owner's others: `tokens/day/large`."""
        return f"{self.kind}/{self.per}/{self.model}"


Action = Literal["block", "flag", "throttle"]
"""What a judge's finding does to a call: refuse it; let it pass and say so; let it pass and slow its key down."""
Hiding = Literal["placeholder", "redact", "hash", "synthetic", "block"]
"""What becomes of personal data: a placeholder that is put back in the answer; a bare `<PERSON>`; a keyed hash; a
stand-in of the same kind; or the call is refused.
"""


@dataclass(frozen=True, slots=True)
class Safety:
    """Where a tenant departs from the installation's judges. None: as the installation does.

    personal_types: the only kinds hidden. personal_allow: texts never hidden, personal_deny: texts always hidden, in
    any case. cache_error: the share of wrong answers tolerated from the semantic cache, 0..1.
    """

    injection: Action | None = None
    injection_threshold: float | None = None
    leak: Action | None = None
    personal: Hiding | None = None
    personal_types: frozenset[str] | None = None
    personal_allow: frozenset[str] = frozenset()
    personal_deny: frozenset[str] = frozenset()
    cache_error: float | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the key's row and its project's, tenant's and plan's, without the key. All of it is safe to log.

    limits: of every level. models, regions: what may be asked for and where it may be answered; None is everything.
    paused, suspended: why no call is let in, empty when it is.
    """

    tenant: str
    key_id: str
    project: str = ""
    scopes: frozenset[str] = frozenset()
    limits: tuple[Limit, ...] = ()
    max_output_tokens: int | None = None
    context_length: int | None = None
    models: frozenset[str] | None = None
    regions: frozenset[str] | None = None
    price_list: str | None = None
    service_tier: str = "default"
    keeps_content: bool = False
    paused: str = ""
    suspended: str = ""
    safety: Safety = Safety()

    @property
    def owner(self) -> Owner:
        """Whose the things are that its calls leave behind."""
        return Owner(self.tenant, self.project)

    @property
    def owners(self) -> tuple[str, ...]:
        """The accounts that a call of this key's is charged to, the widest first."""
        project = (f"project:{self.project}",) if self.project else ()
        return (f"tenant:{self.tenant}", *project, f"key:{self.key_id}")


@dataclass(frozen=True, slots=True)
class Window:
    """One rate limit after this call: allowed per period, left now, seconds until it is full again."""

    limit: int
    remaining: int
    reset: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """The worst case, set aside until settlement. windows: of "requests" and "tokens", the tightest."""

    id: str
    cost: Decimal
    tokens: int
    windows: Mapping[str, Window] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Denied:
    """The ledger's no. reason: requests | tokens | concurrent | budget. retry_after: seconds (0 where waiting is
    useless; above it for a budget that calls on their way hold, and of which enough may come back). limit: the limit
    that was reached; owner: the account whose budget it was.
    """

    reason: str
    retry_after: float = 0.0
    windows: Mapping[str, Window] = field(default_factory=dict)
    limit: Limit | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One call, as billed: immutable, written once. Times in seconds, money in the price list's currency.

    cost = input_cost + cached_cost + output_cost, to the nano. goods: what it cost us. lost: what engines cost us that
    were given up on the way. batch: billed at batch price. estimated: of the tokens, some are our own count. cut: the
    engine told of more tokens than can be, or than was reserved.
    trail: what each stage decided; it goes to the audit record, not to the usage row. refused_by: the stage; of a call
    that went on though its key is to be slowed down, `guard.throttle` or `leak.throttle`.
    """

    id: str
    created: float
    tenant: str
    key_id: str
    model: str
    tier: str | None
    pool: str | None
    region: str | None
    outcome: str  # ok | hit | refused | failed | hangup | lost
    refused_by: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost: Decimal
    price_list: str
    ttft: float | None
    latency: float
    trail: Mapping[str, Any] = field(default_factory=dict)
    project: str = ""
    model_id: str | None = None
    batch: bool = False
    input_cost: Decimal = Decimal(0)
    cached_cost: Decimal = Decimal(0)
    output_cost: Decimal = Decimal(0)
    goods: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)
    estimated: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator or a tenant should hear of: a budget's threshold, a pause, a suspension.

    id: the same for the same event, so that it is told once. kind: `budget.threshold`, `tenant.paused`,
    `key.throttled`, `key.suspended`. data: facts, never text of a call.
    """

    id: str
    at: float
    kind: str
    tenant: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AbusePolicy:
    """What settling a call may set off. Money in currency units, times in seconds; 0 switches a rule off.

    alerts: percent of a budget. strikes: refusals by guard or moderator within `strike_window` that throttle a key to
    `throttle_rpm` for `throttle_seconds`, or suspend it. breaker: a tenant whose spending over `breaker_window` runs
    at `breaker_multiple` times its own norm (the mean over `breaker_norm`, or `breaker_floor` an hour where that is
    more) is paused for `breaker_pause`.
    """

    alerts: tuple[int, ...] = (50, 80, 100)
    strike_window: float = 3600.0
    strikes_to_throttle: int = 0
    strikes_to_suspend: int = 0
    throttle_rpm: int = 6
    throttle_seconds: float = 900.0
    breaker_multiple: float = 0.0
    breaker_floor: Decimal = Decimal(10)
    breaker_window: float = 300.0
    breaker_norm: float = 604_800.0
    breaker_pause: float = 3600.0


class Authenticator(Protocol):
    """Who calls."""

    async def identify(self, key: str) -> Principal | None:
        """The live key's owner, or None. Compares hashes only; the key itself is never stored."""
        ...


class Ledger(Protocol):
    """What is set aside, what was billed."""

    async def reserve(
        self, who: Principal, call_id: str, tokens: int, cost: Decimal, names: frozenset[str] = frozenset()
    ) -> Reservation | Denied:
        """Set the worst case aside, atomically over all gateways, or say why not; a denied call takes nothing.

        tokens: prompt + completion. names: what was asked for (model, tier): whose `per_model` limits count.
        """
        ...

    async def narrow(
        self, who: Principal, call_id: str, tokens: int, cost: Decimal, names: frozenset[str]
    ) -> Reservation | Denied:
        """Take this call's reservation to `cost` and `names`, once its tier is known. Denied: it stays as it was."""
        ...

    async def settle(self, row: UsageRow) -> None:
        """Write the row and release the call's reservation, in one transaction. The same `row.id` again is a no-op."""
        ...

    async def ready(self) -> bool:
        """Whether the database answers. Never raises."""
        ...

    def watch(self, abuse_policy: AbusePolicy, hold: float) -> None:
        """What settling a call may set off from now on. hold: seconds until an unsettled reservation is released."""
        ...


class SettlementOutbox(Protocol):
    """Knows the calls on their way, so that none goes unbilled: not by a lost database, not by a killed gateway."""

    def open(self, call_id: str, snapshot: Callable[[], UsageRow]) -> None:
        """A call has entered. snapshot: its row as it would be if the gateway died now."""
        ...

    async def close(self, row: UsageRow) -> None:
        """Settle the call's row, now or as soon as the ledger takes it. Never raises."""
        ...


class Contents(Protocol):
    """What was said in a tenant's calls, encrypted, where the tenant wants it kept."""

    async def keep(self, tenant: str, call_id: str, created: float, body: bytes) -> None:
        """Store `body`; nothing where the tenant does not keep contents."""
        ...
