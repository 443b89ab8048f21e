"""Find what was answered before: one FAISS index per partition, entries with a time to live.  Port Index.

recall -> [FaissIndex] -> Hit, and remember -> [FaissIndex]. Reads unit vectors; gives the nearest live entry.

A partition is one exact index (`Flat`) while it is small. From `hnsw_from` entries on it also has a graph
(`Graph`), into which its entries move a few at a time between lookups; new ones always enter the flat index,
so that a store never waits for the graph. A graph cannot forget: its dead rows are marked, and when they are
most of it, the living move on into a new graph by the same steps. A lookup searches all parts, at most three.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar

import numpy as np

from app.adapters.faiss_parts import Flat, Partition, Slot
from app.ports import Hit, Vector

SWEEP = 64  # expired entries dropped in passing, so that a mass expiry delays no single call

T = TypeVar("T")


class FaissIndex:
    """Semantic cache entries in memory.

    dim: length of the vectors, float32 and of unit length. max_entries: over all partitions; the oldest leave.
    hnsw_from: entries from which on a partition is searched approximately. clock: seconds, never going back.
    A vector of another shape, or not finite, raises ValueError; an entry that is not JSON raises TypeError.
    """

    def __init__(
        self,
        dim: int = 384,
        max_entries: int = 100_000,
        hnsw_from: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import faiss  # heavy

        if max_entries < 1:
            msg = f"max_entries {max_entries}: at least 1 is wanted"
            raise ValueError(msg)
        self.dim = dim
        self.max_entries = max_entries
        self.hnsw_from = hnsw_from
        self._clock = clock
        self._partitions: dict[str, Partition] = {}
        self._slots: OrderedDict[tuple[str, str], Slot] = OrderedDict()  # oldest first
        self._deaths: list[tuple[float, int, Slot]] = []  # a heap: the next to expire first
        self._order = count()
        self._chores: deque[Partition] = deque()
        # one thread does everything, so that nothing needs a lock; FAISS itself waits without Python's
        self._worker = ThreadPoolExecutor(1, "faiss", initializer=faiss.omp_set_num_threads, initargs=(1,))

    async def lookup(self, partition: str, vector: Vector, threshold: float) -> Hit | None:
        """Return the nearest live entry of this partition at or above the threshold, else None."""
        return await self._run(self._lookup, partition, self._checked(vector), threshold)

    async def store(self, partition: str, vector: Vector, question: str, entry: Mapping[str, Any], ttl: float) -> None:
        """Keep a copy of `entry` for `ttl` seconds, in place of the same question's in this partition."""
        data = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        slot = Slot(partition, question, data, self._clock() + ttl)
        await self._run(self._store, slot, self._checked(vector))

    async def size(self) -> int:
        """Return how many live entries are held."""
        return await self._run(self._size)

    # -- in the worker's thread ------------------------------------------------------------------

    def _lookup(self, partition: str, vector: Vector, threshold: float) -> Hit | None:
        now = self._clock()
        self._sweep(now, SWEEP)
        held = self._partitions.get(partition)
        found = held.nearest(vector, threshold, now) if held else None
        if found is None:
            return None
        score, slot = found
        return Hit(max(-1.0, min(1.0, score)), slot.question, json.loads(slot.entry))

    def _store(self, slot: Slot, vector: Vector) -> None:
        self._sweep(self._clock(), SWEEP)
        key = (slot.partition, slot.question)
        if old := self._slots.get(key):
            self._forget(old)
        while len(self._slots) >= self.max_entries:
            self._forget(next(iter(self._slots.values())))
        held = self._partitions.get(slot.partition)
        if held is None:
            held = Partition(self.dim, self.hnsw_from, Flat(self.dim))
            self._partitions[slot.partition] = held
        held.flat.add(slot, vector)
        self._slots[key] = slot
        heapq.heappush(self._deaths, (slot.dies, next(self._order), slot))
        if len(self._deaths) > 2 * len(self._slots) + SWEEP:  # mostly replaced and evicted ones
            self._deaths = [death for death in self._deaths if death[2].part is not None]
            heapq.heapify(self._deaths)
        self._tidy(held)

    def _size(self) -> int:
        self._sweep(self._clock(), len(self._deaths))
        return len(self._slots)

    def _sweep(self, now: float, most: int) -> None:
        """Forget up to `most` of the entries that have expired."""
        while self._deaths and self._deaths[0][0] <= now and most > 0:
            most -= 1
            slot = heapq.heappop(self._deaths)[2]
            if slot.part is not None:
                self._forget(slot)

    def _forget(self, slot: Slot) -> None:
        del self._slots[slot.partition, slot.question]
        if slot.part is not None:
            slot.part.drop(slot)
        held = self._partitions[slot.partition]
        if len(held):
            self._tidy(held)
        else:
            del self._partitions[slot.partition]

    def _tidy(self, held: Partition) -> None:
        """Have a partition's entries moved when they should, behind the calls that already wait."""
        if not held.moving and held.due():
            self._chores.append(held)
            if len(self._chores) == 1:
                self._later()

    def _later(self) -> None:
        with suppress(RuntimeError):  # the process is ending
            self._worker.submit(self._chore)

    def _chore(self) -> None:
        held = self._chores[0]
        if len(held):
            held.move()
        if not (len(held) and held.due()):
            self._chores.popleft()
        if self._chores:
            self._later()

    # --------------------------------------------------------------------------------------------

    def _checked(self, vector: Vector) -> Vector:
        row = np.array(vector, dtype=np.float32)  # a copy: the caller may go on with its own
        if row.shape != (self.dim,):
            msg = f"vector of shape {row.shape}: ({self.dim},) is wanted"
            raise ValueError(msg)
        if not np.isfinite(row).all():
            msg = "vector with a value that is not finite"
            raise ValueError(msg)
        return row

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)
