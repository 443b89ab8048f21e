"""The semantic cache's entries: put, found, learned from, swept, forgotten.  FaissIndex -> [Entries] -> FAISS.

Not thread-safe, but for `exact`: FaissIndex calls the rest from one thread.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from app.cache.faiss.eviction import Eviction
from app.cache.faiss.keys import belonging, tenant_of
from app.cache.faiss.partition import Flat, Near, Partition, Slot
from app.cache.faiss.records import Tried
from app.core.ports import Stock, Vector

SWEEP = 64  # expired entries dropped in passing, so that a mass expiry delays no single call
OWN = 64  # comparisons that an entry remembers
ALL = 512  # and a tenant


class Entries:
    """slots: by (partition, key). evidence: of each tenant. chores: partitions whose entries should move."""

    def __init__(self, dim: int, hnsw_from: int, eviction: Eviction, clock: Callable[[], float]) -> None:
        self.dim = dim
        self.hnsw_from = hnsw_from
        self.eviction = eviction
        self.clock = clock
        self.partitions: dict[str, Partition] = {}
        self.slots: dict[tuple[str, str], Slot] = {}
        self.evidence: dict[str, Tried] = {}
        self.chores: deque[Partition] = deque()
        self.deaths: list[tuple[float, int, Slot]] = []  # a heap: the next to expire first
        self._order = count()
        self._used: deque[Slot] = deque(maxlen=10_000)  # ranks matter only when something must leave: then they count

    def exact(self, partition: str, key: str) -> Slot | None:
        """The slot of this very question. From any thread."""
        slot = self.slots.get((partition, key))
        if slot is None or slot.dies <= self.clock():
            return None
        self._used.append(slot)
        return slot

    def nearest(self, partition: str, vector: Vector, floor: float, most: int) -> tuple[Near, Tried]:
        """The nearest slots, and the tenant's evidence. The first counts as used."""
        now = self.clock()
        self.sweep(now, SWEEP)
        held = self.partitions.get(partition)
        near = held.nearest(vector, floor, most, now) if held else []
        if near:
            self._used.append(near[0][1])
        return near, self.evidence.get(tenant_of(partition), ())

    def put(self, slot: Slot, vector: Vector) -> bool:
        """Keep it, in place of its question's old one. False where it is too large for the room."""
        self.sweep(self.clock(), SWEEP)
        if old := self.slots.get((slot.partition, slot.key)):
            self.drop(old)
        if not self.eviction.fits(slot):
            return False
        while self._used:
            self.eviction.used(self._used.popleft())
        for victim in self.eviction.leaving(slot):
            self.drop(victim)
        held = self.partitions.get(slot.partition)
        if held is None:
            held = self.partitions[slot.partition] = Partition(self.dim, self.hnsw_from, Flat(self.dim))
        held.flat.add(slot, vector)
        self.slots[slot.partition, slot.key] = slot
        self.eviction.enter(slot)
        heapq.heappush(self.deaths, (slot.dies, next(self._order), slot))
        if len(self.deaths) > 2 * len(self.slots) + SWEEP:  # mostly replaced and evicted ones
            self.deaths = [death for death in self.deaths if death[2].part is not None]
            heapq.heapify(self.deaths)
        self._tidy(held)
        return True

    def learn(self, partition: str, key: str, score: float, right: bool) -> None:  # noqa: FBT001 - as ports.Index
        """Add a comparison's outcome."""
        tenant, pair = tenant_of(partition), (score, right)
        self.evidence[tenant] = (*self.evidence.get(tenant, ()), pair)[-ALL:]
        if slot := self.slots.get((partition, key)):
            slot.tried = (*slot.tried, pair)[-OWN:]

    def of(self, tenant: str | None, model: str | None, version: str | None) -> list[Slot]:
        """Everything that is of these, None being any."""
        belongs = belonging(tenant, model, version)
        return [slot for name, held in self.partitions.items() if belongs(name) for slot in held.slots()]

    def unlearn(self, tenant: str | None) -> None:
        """Drop a tenant's evidence, or everybody's."""
        self.evidence = {} if tenant is None else {t: e for t, e in self.evidence.items() if t != tenant}

    def stock(self, saving: bool | None) -> Stock:  # noqa: FBT001 - as ports.Stock
        """What is held, tenant by tenant."""
        tenants = {name: (own.entries, own.bytes) for name, own in self.eviction.tenants.items()}
        return Stock(tenants, self.eviction.evicted, saving)

    def sweep(self, now: float, most: int) -> bool:
        """Drop up to `most` of the entries that have expired. Whether there may be more."""
        while self.deaths and self.deaths[0][0] <= now and most > 0:
            most -= 1
            slot = heapq.heappop(self.deaths)[2]
            if slot.part is not None:
                self.drop(slot)
        return most == 0

    def drop(self, slot: Slot) -> None:
        """Let it go."""
        del self.slots[slot.partition, slot.key]
        if slot.part is not None:
            slot.part.drop(slot)
        self.eviction.leave(slot)
        held = self.partitions[slot.partition]
        if len(held):
            self._tidy(held)
        else:
            del self.partitions[slot.partition]

    def vectors(self, slots: Sequence[Slot]) -> list[tuple[Slot, Vector]]:
        """Those that are still alive, with their vectors."""
        now = self.clock()
        return [(slot, slot.part.vector(slot)) for slot in slots if slot.part is not None and slot.dies > now]

    def move(self) -> None:
        """Do a little of the first chore."""
        held = self.chores[0]
        if len(held):
            held.move()
        if not (len(held) and held.due()):
            self.chores.popleft()

    def _tidy(self, held: Partition) -> None:
        if not held.moving and held.due():
            self.chores.append(held)
