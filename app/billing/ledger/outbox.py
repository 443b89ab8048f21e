"""No usage row is lost: not with the database away, not with the gateway killed. settle -> [outbox] -> ledger.

Calls on their way are written to disk about once a second, as the rows to bill should this process die. A row that
the ledger does not take is kept there too, and settled when it does. What dead processes left is taken over.
The ledger settles a row's id once, so a row that was settled and kept as well is billed once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TypeVar

from app.billing.ledger.outbox_files import BATCH, Files, decode, encode
from app.core.ports import Ledger, UsageRow
from app.models.threads import Worker

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOK = 30.0
"""Seconds between looks for dead processes' files."""
PATIENCE = 30.0
"""Seconds between attempts, at most, while the ledger takes nothing."""
LOOSE = 10_000
"""Rows held in memory, at most, while neither the ledger nor the disk takes them."""
AGAIN = 60.0
"""Seconds until the same trouble is logged again."""
_TURN = 50  # snapshots between two turns of the event loop


class SettlementOutbox:
    """The SettlementOutbox port on files in `folder`. Run `run()` beside the gateway, and `aclose()` when it ends.

    clock: Unix seconds, for when to look for the dead. every: seconds between snapshots of the calls on their way.
    """

    def __init__(
        self, ledger: Ledger, folder: Path, clock: Callable[[], float] = time.time, *, every: float = 1.0
    ) -> None:
        self._ledger = ledger
        self._files = Files(folder)
        self._clock = clock
        self._every = every
        self._disk = Worker("journal", threads=None)
        self._open: dict[str, Callable[[], UsageRow]] = {}
        self._closing: dict[str, UsageRow] = {}
        self._loose: dict[str, bytes] = {}  # neither settled nor on disk
        self._settling = asyncio.Lock()
        self._looked: float | None = None
        self._said: dict[str, float] = {}

    # -- the port --------------------------------------------------------------------------------

    def open(self, call_id: str, snapshot: Callable[[], UsageRow]) -> None:
        """A call has entered. snapshot: its row as it would be if the gateway died now."""
        self._open[call_id] = snapshot

    async def close(self, row: UsageRow) -> None:
        """Settle the call's row, now or as soon as the ledger takes it. Never raises."""
        self._closing[row.id] = row
        self._open.pop(row.id, None)
        try:
            await self._settle_or_keep(row)
        except asyncio.CancelledError:
            self._loose[row.id] = encode(row)  # perhaps settled, perhaps not
            raise
        finally:
            self._closing.pop(row.id, None)

    # -- for the gateway -------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Rows kept for later."""
        return self._files.waiting + len(self._loose)

    async def run(self) -> None:
        """Write snapshots, settle what is kept, take over what dead processes left; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._settle_kept())

    async def aclose(self) -> None:
        """Settle what can be settled and leave the rest on disk. After the last call, and after `run` has ended."""
        await self._drain()
        await self._snapshot()
        await self._on_disk(self._files.release)

    # -- calls on their way ----------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self._snapshot()
            await asyncio.sleep(self._every)

    async def _snapshot(self) -> None:
        lines = []
        for number, (call_id, snapshot) in enumerate(list(self._open.items()), 1):
            try:
                lines.append(encode(snapshot()))
            except Exception as error:  # noqa: BLE001 - the others' snapshots must be written all the same
                # Its type alone: the message may quote the prompt.
                self._say("call %s has no snapshot: %s", call_id, type(error).__name__)
            if number % _TURN == 0:
                await asyncio.sleep(0)
        # Last looked at and first written: of a call that closed meanwhile, the final row counts.
        final = map(encode, self._closing.values())
        await self._on_disk(self._files.snapshot, [*self._loose.values(), *final, *lines])

    # -- rows kept for later ---------------------------------------------------------------------

    async def _settle_or_keep(self, row: UsageRow) -> None:
        try:
            await self._ledger.settle(row)
        except Exception as error:  # noqa: BLE001 - whatever it is, the row must not be lost
            line = encode(row)
            if await self._on_disk(self._files.append, [line]):
                self._say("usage rows are not taken (%s); they are kept in %s for later", error, self._files.folder)
                return
            if len(self._loose) < LOOSE:
                self._loose[row.id] = line
            log.critical("usage row not written (%s): %s", error, line.decode().rstrip())

    async def _settle_kept(self) -> None:
        pause = self._every
        while True:
            if self._looked is None or abs(self._clock() - self._looked) >= LOOK:
                self._looked = self._clock()
                await self._adopt()
            pause = self._every if await self._drain() else min(pause * 2, max(self._every, PATIENCE))
            await asyncio.sleep(pause)

    async def _adopt(self) -> None:
        if taken := await self._on_disk(self._files.adopt):
            log.warning("took over %d usage rows of gateways that are gone", taken)

    async def _drain(self) -> bool:
        """Settle what is kept, oldest first, for as long as the ledger takes some. Whether nothing is left."""
        async with self._settling:
            waited = self.waiting
            while self.waiting and await self._drain_some():
                pass
            if settled := waited - self.waiting:
                log.warning("settled %d usage rows that were kept, %d wait", settled, self.waiting)
            return not self.waiting

    async def _drain_some(self) -> bool:
        """Settle the oldest; whether there are fewer now. One that the ledger won't take lets the others pass."""
        loose = dict(islice(self._loose.items(), BATCH))
        refused = set(await self._settle(loose.values()))
        for call_id, line in loose.items():
            if line not in refused:
                self._loose.pop(call_id, None)
        lines = await self._on_disk(self._files.head) or []
        again = await self._settle(lines)
        gone = await self._on_disk(self._files.advance, lines, again) if len(again) < len(lines) else 0
        return len(refused) < len(loose) or bool(gone)

    async def _settle(self, lines: Iterable[bytes]) -> list[bytes]:
        """Settle rows; those that the ledger did not take."""
        rows = [(line, row) for line in lines if (row := decode(line))]
        results = await asyncio.gather(*(self._ledger.settle(row) for _, row in rows), return_exceptions=True)
        for error in filter(None, results):
            self._say("usage rows that were kept are still not taken: %s", error)
        return [line for (line, _), error in zip(rows, results, strict=True) if error]

    # -- the disk --------------------------------------------------------------------------------

    async def _on_disk(self, work: Callable[..., T], *args: object) -> T | None:
        """What `work` returns, done off the event loop; None, and why in the log, when the disk can't do it."""
        try:
            return await self._disk.run(work, *args)
        except OSError as error:
            self._say(
                "the journal's folder %s cannot be used (%s): free space there, or give this user write access. "
                "Until then, a gateway that dies takes its unbilled calls with it",
                self._files.folder,
                error.strerror or error,
            )
            return None

    def _say(self, message: str, *args: object) -> None:
        """Log an error, each message once a minute."""
        now = self._clock()
        if abs(now - self._said.get(message, -math.inf)) >= AGAIN:
            self._said[message] = now
            log.error(message, *args)


class Direct:
    """The same without files: what the ledger does not take is in the log alone. For tests, and for one process."""

    waiting = 0

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def open(self, call_id: str, snapshot: Callable[[], UsageRow]) -> None:
        """Nothing: what is on its way is lost with the process."""

    async def close(self, row: UsageRow) -> None:
        """Settle the call's row. Never raises."""
        try:
            await self._ledger.settle(row)
        except Exception as error:  # noqa: BLE001 - the client has its answer; the row must be found in the log
            log.critical("usage row not written (%s): %s", error, encode(row).decode().rstrip())

    async def run(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing is left."""
