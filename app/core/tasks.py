"""Work that must end although nobody waits for it: a settlement, an answer that is kept. settle, http -> [here]."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

_pending: set[asyncio.Task[None]] = set()


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task of its own, held strongly until it ends: the loop holds only a weak reference, and a hang-up cancels
    only who waits for it.
    """
    task = asyncio.ensure_future(work)
    _pending.add(task)
    task.add_done_callback(_pending.discard)
    return task


async def drain() -> None:
    """Wait until everything that was begun has ended. For shutdown."""
    while _pending:
        await asyncio.wait(set(_pending))
