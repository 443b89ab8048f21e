"""Find what was answered before: one FAISS index per partition, entries with a time to live.  Port Index.

recall -> [FaissIndex] -> Hit, Found, and remember -> [FaissIndex]. Reads unit vectors; gives the nearest live entries.

A partition is one exact index (`Flat`) while it is small. From `hnsw_from` entries on it also has a graph
(`Graph`), into which its entries move a few at a time between lookups; new ones always enter the flat index,
so that a store never waits for the graph. A graph cannot forget: its dead rows are marked, and when they are
most of it, the living move on into a new graph by the same steps. A lookup searches all parts, at most three.

What is stored and learned also goes to a folder or an object store, where one is named, and is read from it at the
next start (persistence). Calls never wait for that.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from app.cache.faiss.entries import ALL, SWEEP, Entries
from app.cache.faiss.eviction import Eviction
from app.cache.faiss.files import Place
from app.cache.faiss.keys import one_blank, tenant_of
from app.cache.faiss.partition import Slot
from app.cache.faiss.persistence import Persistence, Source
from app.cache.faiss.records import Change, EntryRecord, Forgotten, Learned, Tried
from app.core.ports import CacheMatch, Hit, Stock, Vector

OVERHEAD = 1400  # bytes that an entry takes beside its vector and its texts: Python's objects, the graph's links
PATIENCE = 5.0  # seconds that `forget` waits for the store

T = TypeVar("T")


class FaissIndex(Source):
    """Semantic cache entries in memory.

    dim: length of the vectors, float32 and of unit length. max_entries, max_bytes: over all partitions; what leaves
    when there is no room, and what tenant_share (0..1) does, eviction says. hnsw_from: entries from which on a
    partition is searched approximately.
    store: what survives a restart: a folder, an fsspec URL, or `state` for one in the state folder; None: nothing.
    One index a store. sealed: encrypt it with the installation's secret. encoder: whose vectors these are; a store
    written with another's is not read. clock: Unix seconds.
    A vector of another shape, or not finite, raises ValueError; an entry that is not JSON raises TypeError.
    """

    def __init__(
        self,
        dim: int = 384,
        max_entries: int = 100_000,
        hnsw_from: int = 10_000,
        clock: Callable[[], float] = time.time,
        *,
        max_bytes: int = 1 << 29,
        tenant_share: float = 0.5,
        store: str | None = None,
        sealed: bool = True,
        encoder: str = "",
    ) -> None:
        import faiss  # heavy

        if max_entries < 1:
            msg = f"max_entries {max_entries}: at least 1 is wanted"
            raise ValueError(msg)
        if not 0 < tenant_share <= 1:
            msg = f"tenant_share {tenant_share}: more than 0 and at most 1 is wanted"
            raise ValueError(msg)
        self.dim = dim
        self._clock = clock
        self._entries = Entries(dim, hnsw_from, Eviction(max_entries, max_bytes, tenant_share), clock)
        self._serial = 0
        self._moving = False
        # one thread does everything, so that nothing needs a lock; FAISS itself waits without Python's
        self._worker = ThreadPoolExecutor(1, "faiss", initializer=faiss.omp_set_num_threads, initargs=(1,))
        self._persistence = Persistence(Place(store), self, dim, encoder, sealed=sealed) if store else None
        if self._persistence:
            self._persistence.start()

    async def exact(self, partition: str, question: str) -> Hit | None:
        """Return this very question's live entry. It waits for no thread."""
        slot = self._entries.exact(partition, one_blank(question))
        return _hit(1.0, slot) if slot else None

    async def lookup(self, partition: str, vector: Vector, floor: float, most: int = 4) -> CacheMatch:
        """Return the nearest live entries of this partition at or above the floor."""
        near, evidence = await self._run(self._entries.nearest, partition, self._checked(vector), floor, most)
        return CacheMatch(tuple(_hit(score, slot) for score, slot in near), evidence)

    async def store(  # noqa: PLR0917 - six things make an entry
        self,
        partition: str,
        vector: Vector,
        question: str,
        entry: Mapping[str, Any],
        ttl: float,
        worth: float = 0.0,
    ) -> None:
        """Keep a copy of `entry` for `ttl` seconds, in place of the same question's in this partition."""
        data = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        slot = self._slot(partition, question, data, self._clock() + ttl, worth)
        await self._run(self._store, slot, self._checked(vector))

    async def learn(self, partition: str, question: str, score: float, right: bool) -> None:  # noqa: FBT001 - the port's
        """Keep a comparison's outcome with the entry and with its tenant."""
        await self._run(self._learn, partition, question, score, right)

    async def forget(self, tenant: str | None = None, model: str | None = None, version: str | None = None) -> int:
        """Drop what is of these, from the store too; it is gone from there some seconds later."""
        await self._swept()
        gone = await self._run(self._entries.of, tenant, model, version)
        for at in range(0, len(gone), SWEEP):  # calls have their turn in between
            await self._run(self._drop, gone[at : at + SWEEP])
        await self._run(self._forgotten, tenant, model, version)
        if self._persistence:
            await asyncio.to_thread(self._persistence.wait, PATIENCE)
        return len(gone)

    async def size(self) -> int:
        """Return how many live entries are held."""
        stock = await self.stock()
        return sum(entries for entries, _ in stock.tenants.values())

    async def stock(self) -> Stock:
        """Return what each tenant has."""
        await self._swept()
        return await self._run(self._entries.stock, self._persistence.saving if self._persistence else None)

    def close(self) -> None:
        """Write what waits, let go of the store. For tests and for whoever replaces an index within a process."""
        if self._persistence:
            self._persistence.close()
        self._worker.shutdown()

    # -- in the worker's thread ------------------------------------------------------------------

    def _store(self, slot: Slot, vector: Vector) -> None:
        kept = self._entries.put(slot, vector)
        if kept and self._persistence:
            self._serial += 1
            self._persistence.note(_kept(self._serial, slot, vector))

    def _learn(self, partition: str, question: str, score: float, right: bool) -> None:  # noqa: FBT001 - the port's
        self._entries.learn(partition, one_blank(question), score, right)
        self._note(Learned, partition, question, score, right)

    def _drop(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            if slot.part is not None:  # nor has it been evicted meanwhile
                self._entries.drop(slot)

    def _forgotten(self, tenant: str | None, model: str | None, version: str | None) -> None:
        # noted once all are gone: a snapshot that was begun before may hold some of them, and this comes after it
        if model is None and version is None:
            self._entries.unlearn(tenant)
        self._note(Forgotten, tenant, model, version)
        if self._persistence:
            self._persistence.rewrite()

    def _note(self, kind: Callable[..., Change], *what: Any) -> None:
        if self._persistence:
            self._serial += 1
            self._persistence.note(kind(self._serial, *what))

    def _move(self) -> None:
        self._entries.move()
        self._moving = bool(self._entries.chores)
        if self._moving:
            self._later()

    def _later(self) -> None:
        with suppress(RuntimeError):  # the process is ending
            self._worker.submit(self._move)

    def _done(self, work: Callable[..., T], *args: Any) -> T:
        """Do it, and have entries moved that should be, behind the calls that already wait."""
        try:
            return work(*args)
        finally:
            if self._entries.chores and not self._moving:
                self._moving = True
                self._later()

    # -- what persistence asks for --------------------------------------------------------------

    def ask(self, work: Callable[..., T], *args: Any) -> T:
        """Do it in the worker's thread, between calls. Raises RuntimeError when the process ends."""
        return self._worker.submit(self._done, work, *args).result()

    def state(self) -> tuple[int, list[Slot], dict[str, Tried]]:
        """What is held now, and the last change it has seen."""
        return self._serial, list(self._entries.slots.values()), dict(self._entries.evidence)

    def copies(self, slots: Sequence[Slot]) -> list[EntryRecord]:
        """The living among them, as they are now."""
        return [_kept(self._serial, slot, vector) for slot, vector in self._entries.vectors(slots)]

    def take(self, entries: Sequence[EntryRecord]) -> None:
        """Put back what an earlier process kept; what is held already is newer."""
        for kept in entries:
            if kept.dies <= self._clock():
                continue
            slot = self._slot(kept.partition, kept.question, kept.entry, kept.dies, kept.worth)
            slot.hits, slot.tried = kept.hits, kept.tried
            if (slot.partition, slot.key) not in self._entries.slots:
                self._entries.put(slot, np.frombuffer(kept.vector, "<f4").astype(np.float32))

    def taught(self, evidence: Mapping[str, Tried], serial: int) -> None:
        """Put back what tenants had learned, and number the changes on from there."""
        for tenant, tried in evidence.items():
            self._entries.evidence[tenant] = (*tried, *self._entries.evidence.get(tenant, ()))[-ALL:]
        self._serial = max(self._serial, serial)

    # --------------------------------------------------------------------------------------------

    def _slot(self, partition: str, question: str, data: bytes, dies: float, worth: float) -> Slot:
        size = OVERHEAD + 4 * self.dim + 2 * len(question) + len(data)
        return Slot(partition, one_blank(question), question, data, dies, tenant_of(partition), size, max(0.0, worth))

    def _checked(self, vector: Vector) -> Vector:
        row = np.array(vector, dtype=np.float32)  # a copy: the caller may go on with its own
        if row.shape != (self.dim,):
            msg = f"vector of shape {row.shape}: ({self.dim},) is wanted"
            raise ValueError(msg)
        if not np.isfinite(row).all():
            msg = "vector with a value that is not finite"
            raise ValueError(msg)
        return row

    async def _swept(self) -> None:
        """Wait until nothing is held that has expired."""
        while await self._run(self._entries.sweep, self._clock(), SWEEP):
            pass

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._done, work, *args)


def _hit(score: float, slot: Slot) -> Hit:
    return Hit(max(-1.0, min(1.0, score)), slot.question, json.loads(slot.entry), slot.tried)


def _kept(serial: int, slot: Slot, vector: Vector) -> EntryRecord:
    return EntryRecord(
        serial,
        slot.partition,
        slot.question,
        slot.dies,
        slot.worth,
        slot.hits,
        slot.tried,
        slot.entry,
        vector.astype("<f4").tobytes(),
    )
