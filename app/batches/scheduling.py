"""The arithmetic of batches: whose line is next, how many at once, when a line that was turned away is tried again.

No I/O. Used by app/batches and by the SQL that hands lines out.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""What a batch may be of."""
MESSAGES = "/v1/messages"
"""What a batch of Anthropic's API is of, and no other."""
WINDOW = 86_400.0
"""Seconds that a batch may take: OpenAI's only `completion_window`, 24h."""
KINDS = ("chatcmpl", "cmpl", "embd")
"""How the ids of calls begin that a line may make."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds."""


def serial(batch: str, number: int, attempt: int) -> str:
    """What stands for one attempt at a line, 24 hex digits: run again after a crash, it settles the same usage row."""
    return hashlib.sha256(f"{batch}/{number}/{attempt}".encode()).hexdigest()[:24]


def free_slots(concurrency: int, online: int, yield_at: int) -> int:
    """How many lines may be on their way beside `online` calls: all when there are none, fewer the more there are,
    and none above `yield_at`.
    """
    if online > yield_at:
        return 0
    return max(1, concurrency * (yield_at + 1 - online) // (yield_at + 1))


def turns(
    waiting: Mapping[str, int], running: Mapping[str, int], served: Mapping[str, float], wanted: int
) -> dict[str, int]:
    """How many of `wanted` lines each tenant is given: always to the one with the fewest on their way.

    waiting, running: lines by tenant. served: when a tenant was last given one; of equals, the longest ago is first.
    """
    queue = [
        (running.get(name, 0), served.get(name, 0.0), name) for name, lines in sorted(waiting.items()) if lines > 0
    ]
    heapq.heapify(queue)
    given: dict[str, int] = {}
    while queue and sum(given.values()) < wanted:
        held, since, name = heapq.heappop(queue)
        given[name] = given.get(name, 0) + 1
        if given[name] < waiting[name]:
            heapq.heappush(queue, (held + 1, since, name))
    return given


def pause(attempt: int, asked: float | None) -> float:
    """Seconds until a batch whose line was turned away is served again. attempt: 0, 1 ...; asked: `Retry-After`."""
    grown = FIRST_PAUSE * float(2 ** min(attempt, 16))
    return min(LONGEST_PAUSE, max(grown, asked or 0.0))


def narrower(width: float) -> float:
    """How many lines of a batch may be on their way after one was turned away for its tenant's limits."""
    return max(1.0, width / 2)


def wider(width: float) -> float:
    """The same after one was answered: slowly up, so that few are turned away while a limit holds."""
    return width + 0.1
