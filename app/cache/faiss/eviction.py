"""Which entries of the semantic cache stay when there is no room for all: the dearest per byte, and the asked-for.

FaissIndex -> [Eviction]. GreedyDual-Size-Frequency (Cherkasova, "Improving WWW Proxies Performance with
Greedy-Dual-Size-Frequency Caching Policy", HP Laboratories HPL-98-69R1, 1998): an entry's rank is

    clock + hits * worth / size

and the lowest leaves. The clock stands at the rank of the last that left, so that what nobody asks for any more
ages; among equals, as when nothing has a worth, the longest unused leaves. Tenants share the room: where somebody
must leave, it is one of a tenant that holds more than `tenant_share`, while there is one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from app.cache.faiss.partition import Slot

SPARE = 64  # outdated ranks that are left lying before a heap is made anew


class Ranks:
    """The slots of the whole room, or of one tenant, lowest rank first. entries, bytes: what they come to."""

    def __init__(self) -> None:
        self.entries = 0
        self.bytes = 0
        self._heap: list[tuple[tuple[float, int], Slot]] = []  # outdated ones stay in it until they come up

    def put(self, slot: Slot) -> None:
        """Take note of its rank, a first or a new one."""
        assert slot.rank is not None  # noqa: S101 - the room has set it
        heapq.heappush(self._heap, (slot.rank, slot))
        if len(self._heap) > 2 * self.entries + SPARE:
            self._heap = [(rank, held) for rank, held in self._heap if held.rank == rank]
            heapq.heapify(self._heap)

    def lowest(self) -> Slot | None:
        """The next to leave."""
        while self._heap:
            rank, slot = self._heap[0]
            if slot.rank == rank:
                return slot
            heapq.heappop(self._heap)
        return None


class Eviction:
    """max_entries, max_bytes: of memory, over all tenants. tenant_share: 0..1, of either; what a tenant holds beyond
    it is the first to leave when another needs room, so that no single tenant drives another out.

    evicted: slots that had to leave so far.
    """

    def __init__(self, max_entries: int, max_bytes: int, tenant_share: float) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.tenant_share = tenant_share
        self.evicted = 0
        self.all = Ranks()
        self.tenants: dict[str, Ranks] = {}
        self._over: set[str] = set()
        self._clock = 0.0
        self._order = count()  # no two ranks are equal: the later used is the higher

    def fits(self, slot: Slot) -> bool:
        """Whether it is worth keeping at all: not where it would take more than a tenant's share alone."""
        return slot.size <= self.max_bytes * self.tenant_share

    def leaving(self, slot: Slot) -> Iterator[Slot]:
        """Those that must leave before `slot` enters, one at a time; each has left when the next is asked for."""
        while self.all.entries + 1 > self.max_entries or self.all.bytes + slot.size > self.max_bytes:
            victim = self._victim(slot)
            if victim is None or victim.rank is None:
                return
            self._clock = max(self._clock, victim.rank[0])
            self.evicted += 1
            yield victim

    def enter(self, slot: Slot) -> None:
        """Count it in."""
        own = self.tenants.setdefault(slot.tenant, Ranks())
        for ranks in (self.all, own):
            ranks.entries += 1
            ranks.bytes += slot.size
        self._weigh(slot.tenant, own)
        self.used(slot, hits=max(1, slot.hits))

    def used(self, slot: Slot, hits: int | None = None) -> None:
        """It was asked for once more."""
        if hits is None and slot.rank is None:
            return  # it has left since
        slot.hits = slot.hits + 1 if hits is None else hits
        slot.rank = (self._clock + slot.hits * slot.worth / slot.size, next(self._order))
        self.all.put(slot)
        self.tenants[slot.tenant].put(slot)

    def leave(self, slot: Slot) -> None:
        """Count it out."""
        slot.rank = None
        own = self.tenants[slot.tenant]
        for ranks in (self.all, own):
            ranks.entries -= 1
            ranks.bytes -= slot.size
        self._weigh(slot.tenant, own)
        if not own.entries:
            del self.tenants[slot.tenant]

    def _victim(self, slot: Slot) -> Slot | None:
        own = self.tenants.get(slot.tenant)
        over = self._over
        if own and self._share(own.entries + 1, own.bytes + slot.size) > self.tenant_share:
            over = over | {slot.tenant}
        if not over:
            return self.all.lowest()
        most = max((self.tenants[name] for name in over), key=lambda ranks: self._share(ranks.entries, ranks.bytes))
        return most.lowest()

    def _weigh(self, tenant: str, own: Ranks) -> None:
        if self._share(own.entries, own.bytes) > self.tenant_share:
            self._over.add(tenant)
        else:
            self._over.discard(tenant)

    def _share(self, entries: int, size: int) -> float:
        return max(entries / self.max_entries, size / self.max_bytes)
