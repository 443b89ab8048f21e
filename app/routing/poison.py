"""Requests that were on their way in an engine when it was lost: none takes down one pool after the other.

generate -> [poison]. A request that a crash follows twice before its first token is given to no engine any more, in
whichever call it comes: it is known by the hash of all that engines are sent of it. An answer clears it, so that a
harmless request that was near two unrelated crashes is not refused for long.
"""

from __future__ import annotations

import orjson

from app.core.events import Prompt
from app.core.lru import Recent

MAX_LOSSES = 2
"""The engine that was asked first, and one other."""
REMEMBERED = 10_000
"""Requests: about 150 bytes each."""


class Poison:
    """Counts the engines that were lost with a request. Of one gateway."""

    def __init__(self) -> None:
        self._losses: Recent[int] = Recent(REMEMBERED)

    def refuses(self, prompt: Prompt) -> bool:
        """Whether no engine may have it."""
        return self._count(prompt) >= MAX_LOSSES

    def lost(self, prompt: Prompt) -> None:
        """An engine was lost before this request's first token."""
        self._losses[_text(prompt)] = self._count(prompt) + 1

    def answered(self, prompt: Prompt) -> None:
        """An engine has begun to answer it."""
        if self._count(prompt):
            self._losses[_text(prompt)] = 0

    def _count(self, prompt: Prompt) -> int:
        if not len(self._losses):  # as nearly always: no hash of a long prompt for nothing
            return 0
        return self._losses.get(_text(prompt), 0)


def _text(prompt: Prompt) -> str:
    """All that an engine is sent, in one order."""
    sent = [[message.wire() for message in prompt.messages], dict(prompt.params), prompt.raw]
    return orjson.dumps(sent, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode(
        "utf-8", "replace"
    )
