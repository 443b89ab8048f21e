"""The parts of a FAISS partition: exact while small, a graph when large, entries moving from one to the other.

FaissIndex -> [Partition -> Flat, Graph] -> FAISS. Not thread-safe: FaissIndex calls all of it from one thread.
A search gives (cosine, slot), nearest first, for every slot that is alive and near enough, up to `most`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from app.core.ports import Vector

MOVES = 4  # entries moved in one step: what a lookup may have to wait for
TAIL = 256  # entries the flat index holds beside a graph before they move on
EF = 64  # nodes a search keeps in sight; eight times as many where dead rows stand in the way


@dataclass(slots=True, eq=False)
class Slot:
    """A stored entry and where its vector is: `row` of `part`, None once it is gone.

    key: what makes a question the same (keys.one_blank). entry: JSON, compact, and nobody else's to change.
    size: bytes of memory, about. worth: the money a hit saves. hits, rank: eviction's. tried: as ports.Hit's.
    """

    partition: str
    key: str
    question: str
    entry: bytes
    dies: float
    tenant: str
    size: int
    worth: float = 0.0
    tried: tuple[tuple[float, bool], ...] = ()
    hits: int = 0
    rank: tuple[float, int] | None = None
    part: Flat | Graph | None = None
    row: int = -1


Near = list[tuple[float, Slot]]


class Flat:
    """Exact search. Rows are dense: the last one takes the place of one that leaves."""

    def __init__(self, dim: int) -> None:
        import faiss  # heavy

        self._faiss = faiss
        self._index = faiss.IndexFlatIP(dim)
        self.slots: list[Slot] = []

    def __len__(self) -> int:
        return len(self.slots)

    def add(self, slot: Slot, vector: Vector) -> None:
        self._index.add(vector[None])
        slot.part, slot.row = self, len(self.slots)
        self.slots.append(slot)

    def drop(self, slot: Slot) -> None:
        last, slot.part = self.slots.pop(), None
        if last is not slot:
            rows = self._faiss.rev_swig_ptr(self._index.get_xb(), self._index.ntotal * self._index.d)
            rows.reshape(-1, self._index.d)[slot.row] = self._index.reconstruct(last.row)
            last.row, self.slots[slot.row] = slot.row, last
        end = self._index.ntotal
        self._index.remove_ids(self._faiss.IDSelectorRange(end - 1, end))

    def living(self) -> Iterator[Slot]:
        """The slots, in the order in which they leave cheapest."""
        return reversed(self.slots)

    def vector(self, slot: Slot) -> Vector:
        return np.asarray(self._index.reconstruct(slot.row), dtype=np.float32)

    def nearest(self, query: Vector, floor: float, most: int, now: float) -> Near:
        found: Near = []
        sought = 0
        while sought < len(self.slots):  # again only where the nearest have expired and nobody swept them yet
            sought = min(max(most, 8 * sought), len(self.slots))
            scores, rows = self._index.search(query[None], sought)
            found = _alive(scores[0], (self.slots[row] for row in rows[0]), floor, now)
            if len(found) >= most or scores[0, -1] < floor:
                break
        return found[:most]


class Graph:
    """Approximate search in a navigable graph (HNSW). Rows of slots that left stay as dead ones."""

    def __init__(self, dim: int) -> None:
        import faiss  # heavy

        self._faiss: Any = faiss  # its stubs do not know what its classes take and offer in Python
        self._index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efSearch = EF
        self._slots: list[Slot | None] = []
        self._alive = np.zeros(128, dtype=np.uint8)  # a bit per row, as FAISS wants it
        self._live = 0
        self._seen = 0  # rows before this one have left: where `living` goes on

    def __len__(self) -> int:
        return self._live

    @property
    def worn(self) -> bool:
        """Whether most rows are dead."""
        return len(self._slots) > max(TAIL, 2 * self._live)

    def add(self, slot: Slot, vector: Vector) -> None:
        self._index.add(vector[None])
        slot.part, slot.row = self, len(self._slots)
        self._slots.append(slot)
        if len(self._slots) > 8 * len(self._alive):
            self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
        self._alive[slot.row >> 3] |= 1 << (slot.row & 7)
        self._live += 1

    def drop(self, slot: Slot) -> None:
        self._alive[slot.row >> 3] &= 0xFF ^ (1 << (slot.row & 7))
        self._slots[slot.row] = slot.part = None
        self._live -= 1

    @property
    def slots(self) -> list[Slot]:
        return [slot for slot in self._slots if slot is not None]

    def living(self) -> Iterator[Slot]:
        while self._seen < len(self._slots):
            slot = self._slots[self._seen]
            if slot is not None:
                yield slot
            self._seen += 1

    def vector(self, slot: Slot) -> Vector:
        return np.asarray(self._index.reconstruct(slot.row), dtype=np.float32)

    def nearest(self, query: Vector, floor: float, most: int, now: float) -> Near:
        """As far as the search sees."""
        scores, rows = self._index.search(query[None], most)
        near = [row for score, row in zip(scores[0], rows[0], strict=True) if row >= 0 and score >= floor]
        found = _alive(scores[0], (self._slots[row] for row in near), floor, now)
        if len(found) == len(near):
            return found
        # some are dead, as after every question that was stored again: look among the living only
        only = self._faiss.SearchParametersHNSW(sel=self._faiss.IDSelectorBitmap(self._alive), efSearch=8 * EF)
        scores, rows = self._index.search(query[None], EF, params=only)
        return _alive(scores[0], (self._slots[row] for row in rows[0] if row >= 0), floor, now)[:most]


@dataclass(slots=True, eq=False)
class Partition:
    """What one partition holds: the flat index, and up to two graphs (a worn one and the one that takes over)."""

    dim: int
    hnsw_from: int
    flat: Flat
    graphs: list[Graph] = field(default_factory=list)
    moving: bool = False

    def __len__(self) -> int:
        return len(self.flat) + sum(map(len, self.graphs))

    def nearest(self, query: Vector, floor: float, most: int, now: float) -> Near:
        parts: list[Flat | Graph] = [self.flat, *self.graphs]
        found = [near for part in parts if len(part) for near in part.nearest(query, floor, most, now)]
        return sorted(found, key=lambda near: -near[0])[:most]

    def slots(self) -> list[Slot]:
        """Everything that is held."""
        return [*self.flat.slots, *(slot for graph in self.graphs for slot in graph.slots)]

    def due(self) -> bool:
        """Whether entries should move. Once begun, moving goes on until the flat index is empty."""
        if not self.moving:
            full = len(self.flat) >= (min(TAIL, self.hnsw_from) if self.graphs else self.hnsw_from)
            self.moving = full or any(graph.worn for graph in self.graphs)
        return self.moving

    def move(self) -> None:
        """Move a few entries one part further."""
        if not self.graphs or (len(self.graphs) == 1 and self.graphs[0].worn):
            self.graphs.append(Graph(self.dim))
        source: Flat | Graph = self.graphs[0] if len(self.graphs) > 1 else self.flat
        for slot in list(islice(source.living(), MOVES)):
            vector = source.vector(slot)
            source.drop(slot)
            self.graphs[-1].add(slot, vector)
        if not len(source):
            if source is self.flat:
                self.flat, self.moving = Flat(self.dim), False  # a new one gives the memory back
            else:
                del self.graphs[0]


def _alive(scores: Iterable[float], slots: Iterable[Slot | None], floor: float, now: float) -> Near:
    """Those that are near enough and neither gone nor expired."""
    return [
        (float(score), slot)
        for score, slot in zip(scores, slots, strict=False)  # past the floor FAISS gives no row
        if slot is not None and score >= floor and slot.dies > now
    ]
