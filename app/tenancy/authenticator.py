"""Who presents this key? The Authenticator port on SQL. API -> [authenticator] -> identity, store.

Keys asked for together share a read. An answer is remembered for less than a second, so that a key that is stopped is
dead in every gateway within one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from app.core.ports import Principal
from app.db.group_commit import Batcher
from app.db.store import Store
from app.tenancy.identity import Identity, digest, look_up

_REMEMBER = 0.9  # seconds: with the look-up itself, a disabled key is dead everywhere within one
_KNOWN = 10_000  # keys remembered, right and wrong ones alike: guessing fills no memory
_LONGEST = 512  # characters of a key


class Authenticator:
    """The keys of one database. `identify` raises LedgerError, a sentence for the operator, when it cannot be read."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix seconds."""
        self._store = store
        self._clock = clock
        self._lookups: Batcher[str, Identity | None] = Batcher(self._look_up)
        self._known: OrderedDict[str, tuple[float, Identity | None]] = OrderedDict()

    async def identify(self, key: str) -> Principal | None:
        """Return the live key's owner, or None. Remembers its answer for 0.9 s."""
        if len(key) > _LONGEST:
            return None
        hashed = digest(key)
        until, found = self._known.get(hashed, (0.0, None))
        if until <= self._clock():
            found = await self._lookups.submit(hashed)
        if found is None or (found.expires is not None and found.expires <= self._clock()):
            return None
        return found.who

    def forget(self) -> None:
        """Read every key anew: one was changed here."""
        self._known.clear()

    async def close(self) -> None:
        """Finish what was asked. The database stays open: it is not this class's."""
        await self._lookups.close()

    async def _look_up(self, hashes: Sequence[str]) -> Sequence[Identity | None]:
        asked = self._clock()
        found = await self._store.read(lambda connection: look_up(connection, hashes, asked))
        for hashed in hashes:
            self._known[hashed] = (asked + _REMEMBER, found.get(hashed))
            self._known.move_to_end(hashed)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return [found.get(hashed) for hashed in hashes]
