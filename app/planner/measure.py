"""`penstock profile`: what one replica does, found by asking it over HTTP. cli, bench -> [measure] -> a graph.

Prefill: the time to the first token of prompts of growing length, one at a time. Decode: answers side by side, the
time between their tokens. Both through everything that stands before the engine, which is why what does not grow with
the length is kept apart, as overhead. The replica must have nothing else to do.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from app.planner.profile import DecodePoint, PrefillPoint, Profile, ProfileError

PATIENCE_S = 300.0
REPEATS = 3
READ_TOKENS = 8
"""Of an answer whose first token is timed: one token alone would leave sooner than a moderated stream's first words."""
SHORT_ANSWER, LONG_ANSWER = 8, 40
"""Tokens of the two answers whose times differ by steps alone, however the first words were held back."""
SHORTEST_TOKENS = 32
BURST = 8
WORDS = ("river", "garden", "engine", "yellow", "quiet", "market", "winter", "paper", "stone", "music", "bridge",
         "orange", "window", "travel", "forest", "silver", "kitchen", "harbour", "letter", "mountain")  # fmt: skip
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked. longest: prompt tokens; batch: answers at once."""

    url: str
    key: str
    model: str
    longest: int = 1024
    batch: int = 16


@dataclass(frozen=True, slots=True)
class Fixed:
    """What cannot be measured from outside."""

    gpus: float = 0.0
    kv_bytes: float = 131_072
    kv_tokens: int = 100_000


@dataclass(frozen=True, slots=True)
class Timing:
    """One streamed answer. Seconds from its request; last_s: of the last piece of text."""

    first_s: float
    last_s: float
    whole_s: float
    prompt_tokens: int
    output_tokens: int


async def measure(target: Target, fixed: Fixed, say: Say = lambda _: None) -> Profile:
    """The profile. Raises ProfileError where the answers cannot be timed, httpx.HTTPError."""
    async with client(target) as http:
        await ask(http, target.model, words(SHORTEST_TOKENS, "warm"), 4)
        reads = await _reads(http, target, say)
        writes = await _writes(http, target, say)
        overhead, prefill = _prefill(reads)
        servers = await _servers(http, target, overhead, prefill[0])
    return Profile(
        name=f"{target.model}, measured",
        source=f"measured over HTTP, through all that stands before the engine: {target.model}, "
        f"prompts to {prefill[-1].prompt_tokens} tokens, {writes[-1].batch} answers at once",
        kind="measured",
        prefill=prefill,
        decode=writes,
        kv_bytes_per_token=fixed.kv_bytes,
        kv_tokens=fixed.kv_tokens,
        gpus=fixed.gpus,
        max_batch=target.batch,
        overhead_s=overhead,
        overhead_servers=servers,
    )


def client(target: Target) -> httpx.AsyncClient:
    """An HTTP client for the target, which asks for answers that no cache gives."""
    headers = {"Authorization": f"Bearer {target.key}", "Cache-Control": "no-cache"}
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=f"{target.url}/v1", headers=headers, timeout=PATIENCE_S, limits=limits)


def words(count: int, seed: object) -> str:
    """Harmless text of about so many tokens, unlike that of any other seed from its first words on."""
    rng = random.Random(str(seed))  # noqa: S311 - filler
    return "Tell a story of " + " ".join(rng.choice(WORDS) for _ in range(max(count - 4, 1)))


async def ask(http: httpx.AsyncClient, model: str, prompt: str, max_tokens: int) -> Timing:
    """Time one streamed answer. Raises ProfileError for a refusal or an answer without text, httpx.HTTPError."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": max_tokens,
        "temperature": 0.8,
    }
    began, first, last = time.perf_counter(), 0.0, 0.0
    usage: dict[str, Any] = {}
    async with http.stream("POST", "/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            raise ProfileError(f"{model} answered {answer.status_code}, so there is nothing to time")
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            usage = chunk.get("usage") or usage
            if chunk.get("choices") and chunk["choices"][0].get("delta", {}).get("content"):
                last = time.perf_counter() - began
                first = first or last
    if not first or not usage.get("completion_tokens"):
        raise ProfileError(f"{model} answered without text or without its usage: ask a model that writes")
    whole = time.perf_counter() - began
    return Timing(first, last, whole, int(usage["prompt_tokens"]), int(usage["completion_tokens"]))


async def _reads(http: httpx.AsyncClient, target: Target, say: Say) -> list[tuple[int, float]]:
    """(prompt tokens, median seconds to the first token), by length."""
    found, length = [], SHORTEST_TOKENS
    while length <= target.longest:
        rows = [
            one
            for turn in range(REPEATS)
            for one in await _several(http, target, [words(length, (length, turn))], READ_TOKENS)
        ]
        tokens = round(statistics.median(row.prompt_tokens for row in rows))
        found.append((tokens, statistics.median(row.first_s for row in rows)))
        say(f"prompts of {tokens} tokens: first token after {found[-1][1] * 1000:.0f} ms")
        length *= 2
    return found


async def _several(http: httpx.AsyncClient, target: Target, prompts: Sequence[str], tokens: int) -> list[Timing]:
    """Ask all at once; what was refused is left out. Raises the first error where nothing was answered."""
    asked = (ask(http, target.model, prompt, tokens) for prompt in prompts)
    rows = await asyncio.gather(*asked, return_exceptions=True)
    answered = [row for row in rows if isinstance(row, Timing)]
    if not answered:
        raise next(row for row in rows if isinstance(row, BaseException))
    return answered


async def _writes(http: httpx.AsyncClient, target: Target, say: Say) -> list[DecodePoint]:
    """A step's seconds, by answers at once."""
    found, batch = [], 1
    while batch <= target.batch:
        rows = []
        for tokens in (SHORT_ANSWER, LONG_ANSWER):
            prompts = [words(SHORTEST_TOKENS, ("write", batch, tokens, number)) for number in range(batch)]
            rows.append(await _several(http, target, prompts, tokens))
        found.append(DecodePoint(batch=batch, step_s=_step(*rows)))
        say(f"{batch} answers at once: {found[-1].step_s * 1000:.1f} ms a token")
        batch *= 2
    return found


def _step(short: Sequence[Timing], long: Sequence[Timing]) -> float:
    """Seconds of a step, by what the longer answers took longer. Raises ProfileError where they were not longer."""
    more = statistics.mean(row.output_tokens for row in long) - statistics.mean(row.output_tokens for row in short)
    later = statistics.mean(row.last_s for row in long) - statistics.mean(row.last_s for row in short)
    if more < 1 or later <= 0:
        raise ProfileError("longer answers did not take longer: no step can be timed")
    return later / more


def _prefill(reads: Sequence[tuple[int, float]]) -> tuple[float, list[PrefillPoint]]:
    """(overhead, rates): a line through the first tokens' times; where it meets length 0 is what does not grow."""
    if len({tokens for tokens, _ in reads}) < 2:
        raise ProfileError("the prompts came out equally long: prefill cannot be told from overhead")
    slope, at_zero = statistics.linear_regression(*zip(*reads, strict=True))
    overhead = min(max(at_zero, 0.0), min(seconds for _, seconds in reads) * 0.99)
    if slope <= 0:
        overhead = min(seconds for _, seconds in reads) * 0.99
    rates = {tokens: tokens / max(seconds - overhead, 1e-6) for tokens, seconds in reads}
    return overhead, [PrefillPoint(prompt_tokens=n, tokens_per_second=rates[n]) for n in sorted(rates)]


async def _servers(http: httpx.AsyncClient, target: Target, overhead: float, read: PrefillPoint) -> int:
    """How many calls pass the overhead side by side: by a burst of short prompts, less what the engine reads."""
    prompts = [words(SHORTEST_TOKENS, ("burst", number)) for number in range(BURST)]
    rows = await _several(http, target, prompts, READ_TOKENS)
    waited = max(row.first_s for row in rows) - BURST * read.prompt_tokens / read.tokens_per_second
    return min(max(round(BURST * overhead / max(waited, 1e-6)), 1), BURST)
