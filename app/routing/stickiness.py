"""Which tier each conversation has, so that its next turn takes no weaker one.

A client sends a conversation whole with every turn, so a turn is known by the hash of all that was said up to it. A
tool loop sends the same user message again, with more behind it: the same turn.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from app.core.events import Prompt

MOST = 100_000
"""Turns remembered: about 200 bytes each."""


@dataclass(frozen=True, slots=True)
class Turns:
    """now: what was said up to the last user message. before: up to the one before it, None in a first turn.
    asked: that one's text.
    """

    now: bytes
    before: bytes | None = None
    asked: str = ""

    @classmethod
    def of(cls, tenant: str, prompt: Prompt) -> Turns:
        """The turns of a prompt. One tenant's are never another's."""
        last = [at for at, message in enumerate(prompt.messages) if message.role == "user"][-2:]
        said = hashlib.sha256(tenant.encode() + b"\0")
        keys: list[bytes] = []
        for at, message in enumerate(prompt.messages):
            said.update(orjson.dumps(message.wire(), default=str, option=orjson.OPT_SORT_KEYS) + b"\n")
            if at in last:
                keys.append(said.digest())
        if len(keys) < 2:
            return cls(keys[0] if keys else said.digest())
        return cls(keys[1], keys[0], prompt.messages[last[0]].text)


class Conversations:
    """seconds: how long a turn's tier is remembered. clock: seconds, never going back. Not thread-safe."""

    def __init__(self, seconds: float, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._tiers: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # the longest unused first

    def tier(self, turn: bytes | None) -> str | None:
        """The tier that this turn took, while it is remembered."""
        found = self._tiers.get(turn) if turn else None
        if found is None or found[1] <= self._clock():
            return None
        return found[0]

    def keep(self, turn: bytes, tier: str) -> None:
        """Remember it."""
        self._tiers[turn] = (tier, self._clock() + self._seconds)
        self._tiers.move_to_end(turn)
        if len(self._tiers) > self._most:
            self._tiers.popitem(last=False)
