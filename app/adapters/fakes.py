"""Deterministic stand-ins for every port: no weights, no network, no database. For tests, demos and benchmarks.

Any room's port. They hold to the same contracts as the real adapters (tests/contracts). Every fake can be
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
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import cycle, zip_longest
from typing import Any, Literal

import numpy as np

from app.events import Token, Usage
from app.ports import (
    Denied,
    EngineError,
    Generation,
    Hit,
    Principal,
    Reservation,
    Span,
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
    A word and the space after it are one token. Honours `n`, `stop`, `max_tokens`/`max_completion_tokens`, `logprobs`.
    tokens_per_second: of each choice; None is as fast as the loop turns. delay: seconds before the first token.
    fail: `before_first` raises a retryable EngineError before any token, `mid_stream` after the first round.
    error: raised in place of that EngineError. context: longest prompt in words, else context_length_exceeded.
    usage_along: also report Usage before every token, not only last. cached: prompt tokens said to be cached.

    Seen by tests: `requests`, `running` (now), `peak` (most at once), `finished` and `aborts` (call ids).
    """

    def __init__(
        self,
        answer: str | Sequence[str] | Callable[[Generation], str] | None = None,
        *,
        tokens_per_second: float | None = None,
        delay: float = 0.0,
        fail: Literal["before_first", "mid_stream"] | None = None,
        error: Exception | None = None,
        context: int | None = None,
        usage_along: bool = True,
        cached: int = 0,
        healthy: bool = True,
    ) -> None:
        self.answer = _echo if answer is None else answer
        self.pause = 1 / tokens_per_second if tokens_per_second else 0.0
        self.delay = delay
        self.fail = fail
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
        text = self.answer(request) if callable(self.answer) else self.answer
        texts = cycle([text] if isinstance(text, str) else text)
        wanted = range(int(request.params.get("n") or 1))
        choices = [_choice(text, index, request.params) for index, text in zip(wanted, texts, strict=False)]
        completion = 0
        for turn in zip_longest(*choices):  # all choices advance together, as they do in a batch
            await asyncio.sleep(self.pause)
            for token in filter(None, turn):
                completion += bool(token.text)
                if self.usage_along:
                    yield Usage(prompt, completion, min(self.cached, prompt))
                yield token
            self._maybe_fail("mid_stream")
        yield Usage(prompt, completion, min(self.cached, prompt))

    def _maybe_fail(self, moment: str) -> None:
        if self.fail == moment:
            raise self.error or EngineError(f"the fake engine fails {moment}", retryable=True)


def _choice(text: str, index: int, params: Mapping[str, Any]) -> list[Token]:
    """One choice as Tokens, the last of which says why it ended."""
    stops = params.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.split(stop, 1)[0]
    words = re.findall(r"\s*\S+\s?|\s+", text) or [""]
    limit = params.get("max_completion_tokens") or params.get("max_tokens")
    reason = "stop" if limit is None or len(words) <= limit else "length"
    words = words[:limit]
    wants = bool(params.get("logprobs"))
    return [
        Token(word, index, _logprobs(word) if wants else None, reason if at == len(words) else None)
        for at, word in enumerate(words, 1)
    ]


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


# -- semantic cache -----------------------------------------------------------------------------


class FakeIndex(_Fake):
    """A semantic cache in a dict, searched by brute force. For recall and remember, and as FAISS's yardstick."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        delay: float = 0.0,
        error: Exception | None = None,
    ) -> None:
        super().__init__(delay=delay, error=error)
        self.clock = clock
        self.held: dict[tuple[str, str], tuple[Vector, str, float]] = {}  # vector, entry as JSON, time of death

    async def lookup(self, partition: str, vector: Vector, threshold: float) -> Hit | None:
        """Return the nearest live entry of the partition at or above the threshold, else None."""
        await self._asked(partition)
        now = self.clock()
        near = [
            (float(vector @ row), question, entry)
            for (where, question), (row, entry, dies) in self.held.items()
            if where == partition and dies > now
        ]
        score, question, entry = max(near, default=(-2.0, "", ""), key=lambda hit: hit[0])
        return Hit(score, question, json.loads(entry)) if score >= threshold and near else None

    async def store(self, partition: str, vector: Vector, question: str, entry: Mapping[str, Any], ttl: float) -> None:
        """Keep a copy of `entry` for `ttl` seconds in place of this question's old one."""
        await self._asked(partition, question)
        self.held[partition, question] = (vector.copy(), json.dumps(entry), self.clock() + ttl)

    async def size(self) -> int:
        """Return how many live entries are held."""
        now = self.clock()
        return sum(dies > now for _, _, dies in self.held.values())


# -- ledger -------------------------------------------------------------------------------------


@dataclass
class _Bucket:
    """A leaky bucket of `limit` per minute, full at first. A limit of 0 is no limit."""

    limit: int
    seen: float
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = float(self.limit)

    def refill(self, now: float) -> None:
        self.level = min(float(self.limit), self.level + (now - self.seen) * self.limit / 60)
        self.seen = now

    def wait(self, amount: float) -> float:
        """Seconds until `amount` would fit."""
        return max(0.0, (amount - self.level) * 60 / self.limit) if self.limit else 0.0

    def window(self) -> Window:
        return Window(self.limit, max(0, int(self.level)), self.wait(self.limit))


class FakeLedger:
    """A ledger in memory: keys, balances, buckets, and the rows written. For admit and settle without a database.

    keys: the key itself -> whose it is. balances: tenant -> money left; a tenant without one has no limit.
    """

    def __init__(
        self,
        keys: Mapping[str, Principal] | None = None,
        balances: Mapping[str, Decimal] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = dict(keys or {})
        self.balances = dict(balances or {})
        self.clock = clock
        self.held: dict[str, tuple[Principal, Reservation]] = {}
        self.rows: list[UsageRow] = []
        self.healthy = True
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    async def identify(self, key: str) -> Principal | None:
        """Return the key's owner, or None."""
        return self.keys.get(key)

    async def reserve(self, who: Principal, call_id: str, tokens: int, cost: Decimal) -> Reservation | Denied:
        """Set the worst case aside or say why not. A denied call takes nothing. The same call again: the same."""
        if call_id in self.held:
            return self.held[call_id][1]
        wants = {"requests": 1, "tokens": tokens}
        buckets = self._of(who)
        for reason, bucket in buckets.items():
            if bucket.limit and bucket.level < wants[reason]:
                # more than a full bucket never fits: waiting is useless
                wait = bucket.wait(wants[reason]) if wants[reason] <= bucket.limit else 0.0
                return Denied(reason, wait, self._windows(buckets))
        if who.tenant in self.balances and self.balances[who.tenant] < cost:
            return Denied("budget", 0.0, self._windows(buckets))
        self._move(who, -cost)
        for reason, bucket in buckets.items():
            bucket.level -= wants[reason]
        reservation = Reservation(call_id, cost, tokens, self._windows(buckets))
        self.held[call_id] = (who, reservation)
        return reservation

    async def settle(self, reservation: Reservation | None, row: UsageRow) -> None:
        """Write the row, give back what was reserved and take what was spent. The same `row.id` again is a no-op."""
        if any(row.id == old.id for old in self.rows):
            return
        self.rows.append(row)
        held = self.held.pop(reservation.id, None) if reservation else None
        if held is None:
            self._move(Principal(row.tenant, row.key_id), -row.cost)
            return
        who, kept = held
        self._move(who, kept.cost - row.cost)
        bucket = self._of(who)["tokens"]
        bucket.level = min(float(bucket.limit), bucket.level + kept.tokens - row.prompt_tokens - row.completion_tokens)

    async def ready(self) -> bool:
        """Report `healthy`."""
        return self.healthy

    def _move(self, who: Principal, amount: Decimal) -> None:
        if who.tenant in self.balances:
            self.balances[who.tenant] += amount

    def _of(self, who: Principal) -> dict[str, _Bucket]:
        limits = {"requests": who.requests_per_minute, "tokens": who.tokens_per_minute}
        buckets = {
            reason: self._buckets.setdefault((who.key_id, reason), _Bucket(limit, self.clock()))
            for reason, limit in limits.items()
        }
        for bucket in buckets.values():
            bucket.refill(self.clock())
        return buckets

    @staticmethod
    def _windows(buckets: Mapping[str, _Bucket]) -> dict[str, Window]:
        return {reason: bucket.window() for reason, bucket in buckets.items() if bucket.limit}
