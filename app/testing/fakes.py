"""Deterministic stand-ins for every port: no weights, no network, no database. For tests, demos and benchmarks.

Any stage's port. They hold to the same contracts as the real adapters (tests/contracts). Every fake can be
slow (`delay`, seconds) or broken (`error`), and remembers what it was asked (`calls`, `requests`, `rows`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from itertools import cycle, zip_longest
from typing import Any, Literal

import numpy as np

from app.billing import rate_limits
from app.billing.ledger.decisions import RESERVED_WAIT
from app.billing.ledger.outbox import Direct
from app.billing.rate_limits import Bucket
from app.cache.faiss.keys import belonging, one_blank, tenant_of
from app.core.call import Call
from app.core.events import Token, ToolDelta, Usage
from app.core.ports import (
    AbusePolicy,
    CacheMatch,
    Denied,
    EngineError,
    Generation,
    Hit,
    Limit,
    Principal,
    Reservation,
    Span,
    Stock,
    UsageRow,
    Vector,
    Window,
)


class _Fake:
    """What all judges share: a delay in seconds, an error to raise instead of answering, the calls seen."""

    def __init__(self, *, delay: float = 0.0, error: Exception | None = None) -> None:
        self.delay = delay
        self.error = error
        self.calls: list[tuple[str, ...]] = []

    async def _asked(self, *texts: str) -> None:
        self.calls.append(texts)
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error


# -- generation ---------------------------------------------------------------------------------


def _echo(request: Generation) -> str:
    said = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
    return f"You said: {said}"


class FakeEngine:
    """An engine that streams a known answer word by word. For the pipe's tests and for load without a model.

    answer: a text, one for each choice, or a function of the request; by default it echoes the last user message.
    A word and the space after it are one token. Honours `n`, `stop`, `max_tokens`/`max_completion_tokens`, `logprobs`,
    and `resume`: of the known answer, what follows the text that was given.
    tools: calls, as (name, arguments), that it makes in place of the answer when the request has `tools` and its
    `tool_choice` allows; they are streamed in pieces of a few characters.
    tokens_per_second: of each choice; None is as fast as the loop turns. delay: seconds before the first token.
    fail: `before_first` raises a retryable EngineError before any token, `mid_stream` after the first round.
    failures: only so many requests fail; None is every one.
    error: raised in place of that EngineError. context: longest prompt in words, else context_length_exceeded.
    usage_along: also report Usage before every token, not only last. cached: prompt tokens said to be cached.

    Seen by tests: `requests`, `running` (now), `peak` (most at once), `finished` and `aborts` (call ids).
    """

    def __init__(
        self,
        answer: str | Sequence[str] | Callable[[Generation], str] | None = None,
        *,
        tools: Sequence[tuple[str, str]] = (),
        tokens_per_second: float | None = None,
        delay: float = 0.0,
        fail: Literal["before_first", "mid_stream"] | None = None,
        failures: int | None = None,
        error: Exception | None = None,
        context: int | None = None,
        usage_along: bool = True,
        cached: int = 0,
        healthy: bool = True,
    ) -> None:
        self.answer = _echo if answer is None else answer
        self.tools = tools
        self.pause = 1 / tokens_per_second if tokens_per_second else 0.0
        self.delay = delay
        self.fail = fail
        self.failures = failures
        self.error = error
        self.context = context
        self.usage_along = usage_along
        self.cached = cached
        self.healthy = healthy
        self.requests: list[Generation] = []
        self.running = 0
        self.peak = 0
        self.finished: list[str] = []
        self.aborts: list[str] = []

    async def generate(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        """Stream the answer; closing this before its end is recorded in `aborts`."""
        self.requests.append(request)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            async with aclosing(self._stream(request)) as events:
                async for event in events:
                    yield event
            self.finished.append(request.call_id)
        except (GeneratorExit, asyncio.CancelledError):
            self.aborts.append(request.call_id)
            raise
        finally:
            self.running -= 1

    async def ready(self) -> bool:
        """Report `healthy`."""
        return self.healthy

    async def _stream(self, request: Generation) -> AsyncGenerator[Token | Usage, None]:
        prompt = sum(len(m.text.split()) for m in request.messages)
        if self.context is not None and prompt > self.context:
            message = f"maximum context length is {self.context} tokens, the prompt has {prompt}"
            raise EngineError(message, retryable=False, code="context_length_exceeded", param="messages")
        await asyncio.sleep(self.delay)
        self._maybe_fail("before_first")
        choices = self._choices(request)
        completion = 0
        for turn in zip_longest(*choices):  # all choices advance together, as they do in a batch
            await asyncio.sleep(self.pause)
            for token in filter(None, turn):
                completion += bool(token.said)
                if self.usage_along:
                    yield Usage(prompt, completion, min(self.cached, prompt))
                yield token
            self._maybe_fail("mid_stream")
        yield Usage(prompt, completion, min(self.cached, prompt))

    def _choices(self, request: Generation) -> list[list[Token]]:
        wanted = range(int(request.params.get("n") or 1))
        if self.tools and request.params.get("tools") and request.params.get("tool_choice") != "none":
            return [_tool_calls(self.tools, index) for index in wanted]
        text = self.answer(request) if callable(self.answer) else self.answer
        texts = cycle([text] if isinstance(text, str) else text)
        given = request.messages[-1].text if request.resume else ""
        rests = (_after(text, given) for text in texts)
        return [_choice(rest, index, request.params) for index, rest in zip(wanted, rests, strict=False)]

    def _maybe_fail(self, moment: str) -> None:
        if self.fail == moment and self.failures != 0:
            if self.failures is not None:
                self.failures -= 1
            raise self.error or EngineError(f"the fake engine fails {moment}", retryable=True)


def _choice(text: str, index: int, params: Mapping[str, Any]) -> list[Token]:
    """One choice as Tokens, the last of which says why it ended."""
    stops = params.get("stop") or []
    ended = None
    for stop in [stops] if isinstance(stops, str) else stops:
        if stop in text:
            text, ended = text.split(stop, 1)[0], stop
    words = re.findall(r"\s*\S+\s?|\s+", text) or [""]
    limit = params.get("max_completion_tokens") or params.get("max_tokens")
    reason = "stop" if limit is None or len(words) <= limit else "length"
    words = words[:limit]
    wants = bool(params.get("logprobs"))
    tokens = [Token(word, index, _logprobs(word) if wants else None) for word in words]
    tokens[-1] = replace(tokens[-1], finish_reason=reason, stop=ended if reason == "stop" else None)
    return tokens


def _after(answer: str, given: str) -> str:
    """What is left of an answer of which `given` ends with the beginning; all of it when that does not."""
    return next((answer[n:] for n in range(len(answer), 0, -1) if given.endswith(answer[:n])), answer)


def _tool_calls(tools: Sequence[tuple[str, str]], choice: int) -> list[Token]:
    """Calls as Tokens: each one's name, then its arguments in pieces; last, the end of the choice."""
    tokens = []
    for index, (name, arguments) in enumerate(tools):
        new = ToolDelta(index, "", f"call_{choice}_{index}", name)
        pieces = (ToolDelta(index, arguments[at : at + 5]) for at in range(0, len(arguments), 5))
        tokens += [Token("", choice, tool=delta) for delta in (new, *pieces)]
    return [*tokens, Token("", choice, finish_reason="tool_calls")]


def _logprobs(word: str) -> list[dict[str, Any]]:
    return [{"token": word, "logprob": -0.5, "bytes": list(word.encode()), "top_logprobs": []}]


# -- judges -------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _word_vector(word: str, dim: int) -> Vector:
    seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)


class FakeEncoder(_Fake):
    """Texts as hashed bags of words: the same words give cosine 1, no common word about 0. For cache and router."""

    def __init__(self, dim: int = 384, *, delay: float = 0.0, error: Exception | None = None) -> None:
        super().__init__(delay=delay, error=error)
        self.dim = dim

    async def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 (len(texts), dim), rows of unit length; stable across processes and versions."""
        await self._asked(*texts)
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for at, text in enumerate(texts):
            # sorted, so that the order of words cannot change a sum's last bit
            words = sorted(re.findall(r"\w+", text.lower())) or [""]
            row = np.sum([_word_vector(word, self.dim) for word in words], axis=0)
            rows[at] = row / np.linalg.norm(row)
        return rows


class FakeScrubber(_Fake):
    """Finds e-mail addresses, telephone and card numbers by shape, and people by a list. For scrub and restore."""

    def __init__(self, names: Sequence[str] = (), *, delay: float = 0.0, error: Exception | None = None) -> None:
        super().__init__(delay=delay, error=error)
        # earlier patterns win where two match: an address is not a name, a card is not a telephone
        self.patterns = {
            "EMAIL_ADDRESS": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
            "CREDIT_CARD": re.compile(r"\b\d{4}(?:[ -]?\d{4}){2}[ -]?\d{3,4}\b"),
            "PHONE_NUMBER": re.compile(r"(?<!\w)(?:\+\d{1,3}[ -]?)?(?:\(\d{3}\)|\d{3})[ -]\d{3,4}[ -]?\d{4}\b"),
        }
        if names:
            longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
            self.patterns["PERSON"] = re.compile(rf"\b(?:{longest_first})\b")

    async def scan(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return each text's spans, score 1, sorted and never overlapping."""
        await self._asked(*texts)
        return [self._scan(text) for text in texts]

    def _scan(self, text: str) -> list[Span]:
        spans: list[Span] = []
        for kind, pattern in self.patterns.items():
            found = (Span(m.start(), m.end(), kind, 1.0) for m in pattern.finditer(text))
            spans += [s for s in found if not any(s.start < o.end and o.start < s.end for o in spans)]
        return sorted(spans, key=lambda s: s.start)


FAKE_WORDS: Mapping[str, Sequence[str]] = {
    "injection": ("ignore previous instructions", "ignore all previous instructions"),
    "toxicity": ("idiot", "moron"),
}


class FakeClassifier(_Fake):
    """Scores a label `hit` when the text holds one of its words (any case), else `miss`. For guard and moderate.

    words: label -> words or phrases; by default a few of `injection` and of `toxicity`.
    """

    def __init__(
        self,
        words: Mapping[str, Sequence[str]] | None = None,
        *,
        hit: float = 0.99,
        miss: float = 0.01,
        delay: float = 0.0,
        error: Exception | None = None,
    ) -> None:
        super().__init__(delay=delay, error=error)
        chosen = FAKE_WORDS if words is None else words
        self.words = {label: tuple(word.lower() for word in some) for label, some in chosen.items()}
        self.hit = hit
        self.miss = miss

    async def score(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return for each text every label's score; 0 for an empty one."""
        await self._asked(*texts)
        return [{label: self._score(text.lower(), some) for label, some in self.words.items()} for text in texts]

    def _score(self, text: str, words: Sequence[str]) -> float:
        if not text.strip():
            return 0.0
        return self.hit if any(word in text for word in words) else self.miss


class FakeComplexity(_Fake):
    """Calls a prompt the harder the longer it is: `full` words or more score 1. For route."""

    def __init__(self, full: int = 100, *, delay: float = 0.0, error: Exception | None = None) -> None:
        super().__init__(delay=delay, error=error)
        self.full = full

    async def score(self, text: str, vector: Vector) -> float:
        """Return 0..1 by the number of words; the vector is not looked at."""
        del vector
        await self._asked(text)
        return min(1.0, len(text.split()) / self.full)


class FakeParaphraseJudge(_Fake):
    """Takes two questions for the same by the share of words they have in common. For recall.

    judge: question, other -> 0..1, in place of that.
    """

    def __init__(
        self,
        judge: Callable[[str, str], float] | None = None,
        *,
        delay: float = 0.0,
        error: Exception | None = None,
    ) -> None:
        super().__init__(delay=delay, error=error)
        self.judge = judge or _in_common

    async def score(self, question: str, others: Sequence[str]) -> list[float]:
        """Return each other question's share, 0..1; 1 for the same words in any case and with any punctuation."""
        await self._asked(question, *others)
        return [float(self.judge(question, other)) for other in others]


def _in_common(a: str, b: str) -> float:
    ours, theirs = (re.findall(r"\w+", text.casefold()) for text in (a, b))
    if ours == theirs:
        return 1.0 if ours else 0.0
    return 0.99 * len({*ours} & {*theirs}) / len({*ours} | {*theirs})


# -- semantic cache -----------------------------------------------------------------------------


@dataclass
class _Entry:
    """A stored answer. entry: as JSON. dies: when its time is over."""

    partition: str
    vector: Vector
    question: str
    entry: str
    dies: float
    tried: tuple[tuple[float, bool], ...] = ()

    def hit(self, score: float) -> Hit:
        return Hit(score, self.question, json.loads(self.entry), self.tried)


class FakeIndex(_Fake):
    """A semantic cache in a dict, searched by brute force. For recall and remember, and as FAISS's yardstick.

    It has no bounds and nothing of it survives a restart.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        delay: float = 0.0,
        error: Exception | None = None,
    ) -> None:
        super().__init__(delay=delay, error=error)
        self.clock = clock
        self.held: dict[tuple[str, str], _Entry] = {}
        self.evidence: dict[str, tuple[tuple[float, bool], ...]] = {}
        self.saving: bool | None = None  # what its stock says of a store

    async def exact(self, partition: str, question: str) -> Hit | None:
        """Return this question's live entry, else None."""
        await self._asked(partition, question)
        entry = self.held.get((partition, one_blank(question)))
        return entry.hit(1.0) if entry and entry.dies > self.clock() else None

    async def lookup(self, partition: str, vector: Vector, floor: float, most: int = 4) -> CacheMatch:
        """Return the nearest live entries of the partition at or above the floor."""
        await self._asked(partition)
        own = [entry for entry in self._live() if entry.partition == partition]
        near = sorted(((float(vector @ entry.vector), entry) for entry in own), key=lambda pair: -pair[0])
        hits = tuple(entry.hit(score) for score, entry in near[:most] if score >= floor)
        return CacheMatch(hits, self.evidence.get(tenant_of(partition), ()))

    async def store(  # noqa: PLR0917 - six things make an entry
        self,
        partition: str,
        vector: Vector,
        question: str,
        entry: Mapping[str, Any],
        ttl: float,
        worth: float = 0.0,  # noqa: ARG002 - nothing ever has to leave
    ) -> None:
        """Keep a copy of `entry` for `ttl` seconds in place of this question's old one."""
        await self._asked(partition, question)
        made = _Entry(partition, vector.copy(), question, json.dumps(entry), self.clock() + ttl)
        self.held[partition, one_blank(question)] = made

    async def learn(self, partition: str, question: str, score: float, right: bool) -> None:  # noqa: FBT001 - a pair with score
        """Keep the outcome with the entry and with the tenant."""
        await self._asked(partition, question)
        tenant = tenant_of(partition)
        self.evidence[tenant] = (*self.evidence.get(tenant, ()), (score, right))[-512:]
        if entry := self.held.get((partition, one_blank(question))):
            entry.tried = (*entry.tried, (score, right))[-64:]

    async def forget(self, tenant: str | None = None, model: str | None = None, version: str | None = None) -> int:
        """Drop what is of these and return how many live entries that were."""
        await self._asked()
        before, belongs = len(self._live()), belonging(tenant, model, version)
        self.held = {key: entry for key, entry in self.held.items() if not belongs(entry.partition)}
        if model is None and version is None:
            self.evidence = {} if tenant is None else {t: e for t, e in self.evidence.items() if t != tenant}
        return before - len(self._live())

    async def size(self) -> int:
        """Return how many live entries are held."""
        return len(self._live())

    async def stock(self) -> Stock:
        """Return the live entries of each tenant, and the bytes of their texts."""
        tenants: dict[str, tuple[int, int]] = {}
        for entry in self._live():
            count, size = tenants.get(tenant_of(entry.partition), (0, 0))
            text = len(entry.question.encode()) + len(entry.entry.encode())
            tenants[tenant_of(entry.partition)] = (count + 1, size + text)
        return Stock(tenants, saving=self.saving)

    def _live(self) -> list[_Entry]:
        now = self.clock()
        return [entry for entry in self.held.values() if entry.dies > now]


# -- ledger -------------------------------------------------------------------------------------


@dataclass
class _Kept:
    """What a call holds of balance and buckets until it is settled."""

    who: Principal
    reservation: Reservation
    since: float
    names: frozenset[str] = frozenset()
    taken: dict[Limit, int] = field(default_factory=dict)


class FakeAuthenticator:
    """Keys in memory, by the key itself. asked: the keys presented, in order."""

    def __init__(self, keys: Mapping[str, Principal] | None = None) -> None:
        self.keys = dict(keys or {})
        self.asked: list[str] = []

    async def identify(self, key: str) -> Principal | None:
        """Return the key's owner, or None."""
        self.asked.append(key)
        return self.keys.get(key)


class FakeLedger:
    """A ledger in memory: balances, buckets, and the rows written. For admit and settle without a database.

    balances: tenant -> money left; a tenant without one has no limit.
    """

    def __init__(self, balances: Mapping[str, Decimal] | None = None, clock: Callable[[], float] = time.time) -> None:
        self.balances = dict(balances or {})
        self.clock = clock
        self.held: dict[str, _Kept] = {}
        self.rows: list[UsageRow] = []
        self.healthy = True
        self.watched: tuple[AbusePolicy, float] | None = None
        self._buckets: dict[tuple[str, str], Bucket] = {}

    async def reserve(
        self, who: Principal, call_id: str, tokens: int, cost: Decimal, names: frozenset[str] = frozenset()
    ) -> Reservation | Denied:
        """Set the worst case aside or say why not. A denied call takes nothing. The same call again: the same."""
        if call_id in self.held:
            return self.held[call_id].reservation
        return self._take(_Kept(who, Reservation(call_id, Decimal(0), 0), self.clock()), tokens, cost, names)

    async def narrow(
        self, who: Principal, call_id: str, tokens: int, cost: Decimal, names: frozenset[str]
    ) -> Reservation | Denied:
        """Take this call's reservation to `cost` and `names`. Denied: it stays as it was."""
        if call_id not in self.held:
            return Denied("expired", 0.0, self._windows(who))
        return self._take(self.held[call_id], tokens, cost, names)

    async def settle(self, row: UsageRow) -> None:
        """Write the row, give back what was reserved and take what was spent. The same `row.id` again is a no-op."""
        if any(row.id == old.id for old in self.rows):
            return
        self.rows.append(row)
        self._move(row.tenant, -row.cost)
        if kept := self.held.pop(row.id, None):
            self._move(row.tenant, kept.reservation.cost)
            for limit, amount in kept.taken.items():
                if limit.kind == "tokens":
                    spare = amount - row.prompt_tokens - row.completion_tokens
                    left = rate_limits.give_back(self._bucket(limit), limit, spare, kept.since)
                    self._buckets[limit.owner, limit.name] = rate_limits.kept(left, limit)

    async def ready(self) -> bool:
        """Report `healthy`."""
        return self.healthy

    def watch(self, abuse_policy: AbusePolicy, hold: float) -> None:
        """Keep what it was told; nothing is set off here."""
        self.watched = abuse_policy, hold

    def _take(self, kept: _Kept, tokens: int, cost: Decimal, names: frozenset[str]) -> Reservation | Denied:
        who, windows = kept.who, self._windows(kept.who)
        asked = [one for one in who.limits if one.model in names | {"*"} and one not in kept.taken]
        for limit in asked:
            amount = 1 if limit.kind == "requests" else tokens
            if limit.kind == "concurrent" and self._live(limit) >= limit.amount:
                return Denied("concurrent", 1.0, windows, limit)
            if limit.kind != "concurrent" and rate_limits.take(self._bucket(limit), amount) is None:
                return Denied(limit.kind, rate_limits.wait(self._bucket(limit), limit, amount), windows, limit)
        more = cost - kept.reservation.cost
        fewer = kept.reservation.id in self.held and more <= 0
        if not fewer and self.balances.get(who.tenant, more) < more:
            others = [one.reservation.cost for one in self.held.values() if one.who.tenant == who.tenant]
            wait = RESERVED_WAIT if self.balances[who.tenant] + sum(others) >= cost else 0.0
            return Denied("budget", wait, windows, owner=f"tenant:{who.tenant}")
        self._move(who.tenant, -more)
        for limit in asked:
            kept.taken[limit] = {"requests": 1, "tokens": tokens, "concurrent": 0}[limit.kind]
            left = self._bucket(limit)
            left = Bucket(left.level - kept.taken[limit], left.updated)
            self._buckets[limit.owner, limit.name] = rate_limits.kept(left, limit)
        kept.names |= names
        kept.reservation = Reservation(kept.reservation.id, cost, tokens, self._windows(who))
        self.held[kept.reservation.id] = kept
        return kept.reservation

    def _live(self, limit: Limit) -> int:
        return sum(limit.owner in kept.who.owners and limit.model in kept.names | {"*"} for kept in self.held.values())

    def _move(self, tenant: str, amount: Decimal) -> None:
        if tenant in self.balances:
            self.balances[tenant] += amount

    def _bucket(self, limit: Limit) -> Bucket:
        return rate_limits.refill(self._buckets.get((limit.owner, limit.name)), limit, self.clock())

    def _windows(self, who: Principal) -> dict[str, Window]:
        tightest: dict[str, Window] = {}
        for limit in who.limits:
            window = rate_limits.window(self._bucket(limit), limit)
            if (
                limit.kind != "concurrent"
                and limit.model == "*"
                and (limit.kind not in tightest or window.remaining < tightest[limit.kind].remaining)
            ):
                tightest[limit.kind] = window
        return tightest


class FakeContents:
    """Kept contents in memory, unencrypted."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def keep(self, tenant: str, call_id: str, created: float, body: bytes) -> None:  # noqa: ARG002 - the port's
        """Keep it under its call."""
        self.kept[call_id] = body


class FakeBooks:
    """What app.runtime.wiring.wire wants beside models: a ledger in memory, rows handed straight to it, nobody told."""

    def __init__(self, keys: Mapping[str, Principal] | None = None) -> None:
        self.authenticator = FakeAuthenticator(keys)
        self.ledger = FakeLedger()
        self.outbox = Direct(self.ledger)
        self.contents = FakeContents()
        self.pseudonym_key = b"a key that tests and demos share"

    def observe(self, row: UsageRow, call: Call) -> None:
        """Nobody is told."""
