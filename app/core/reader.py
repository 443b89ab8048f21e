"""Read a call's events one at a time, with patience: what is late is not lost.  moderate, sse, answer -> [Reader]."""

from __future__ import annotations

import asyncio
from typing import Final

from app.core.events import Event
from app.core.stage import Events


class Later:
    """What Reader.next returns when nothing came in time."""


LATER: Final = Later()


class Reader:
    """Reads events one at a time; a read that is late goes on, and the next call picks it up."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._read: asyncio.Task[Event | None] | None = None

    async def next(self, patience: float | None) -> Event | Later | None:
        """The next event, None at the end, LATER after `patience` seconds."""
        if self._read is None:
            if patience is None:
                return await anext(self._events, None)
            self._read = asyncio.ensure_future(self._next())
        await asyncio.wait({self._read}, timeout=patience)
        if not self._read.done():
            return LATER
        read, self._read = self._read, None
        return read.result()

    async def _next(self) -> Event | None:
        return await anext(self._events, None)

    async def aclose(self) -> None:
        if self._read is not None:
            self._read.cancel()
            await asyncio.wait({self._read})
        await self._events.aclose()
