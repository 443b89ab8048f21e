"""What the semantic cache's index costs, and how often its graph finds what exact search finds.

    python bench/index.py [SIZE ...]        entries in one partition; default 1000 10000 50000

For each size, in milliseconds, p50 and p99 of: the exact tier, a lookup of the nearest four, a store; a lookup while a
snapshot is written; then recall@1 against exact search, and the seconds that a restart takes to read it all back.
Vectors are made up: questions around topics, as an encoder's vectors lie. A near query is a stored one with its
wording changed (cosine about 0.9), a new one is of the same topics.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.cache.faiss.index import FaissIndex
from app.core.ports import Vector

DIM = 384
PARTITION = "acme/small/v1/hash"
CALLS = 1000
ENTRY = {"answers": [{"choice": 0, "text": "word " * 150, "finish_reason": "stop"}], "tier": "small"}


def unit(rows: NDArray[np.floating[Any]]) -> Vector:
    """Rows of unit length, float32."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def around(rng: np.random.Generator, rows: Vector, cosine: float) -> Vector:
    """For each row one at about this cosine from it."""
    noise = unit(rng.standard_normal(rows.shape))
    return unit(cosine * rows + np.sqrt(1 - cosine**2) * noise)


def said(name: str, times: list[float]) -> None:
    """Print what seconds come to."""
    p50, p99 = np.percentile(np.array(times) * 1000, [50, 99])
    print(f"  {name:34} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms")


async def lookups(index: FaissIndex, queries: Vector) -> tuple[list[float], list[str]]:
    """Seconds of each, and the questions found."""
    times, found = [], []
    for query in queries:
        started = time.perf_counter()
        hits = (await index.lookup(PARTITION, query, 0.0)).hits
        times.append(time.perf_counter() - started)
        found.append(hits[0].question if hits else "")
    return times, found


async def fill(index: FaissIndex, rows: Vector) -> list[float]:
    """Store all, one after the other, and wait until they are where they will stay."""
    times = []
    for number, row in enumerate(rows):
        started = time.perf_counter()
        await index.store(PARTITION, row, f"question {number}", ENTRY, 3600, 0.001)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    while index._entries.chores:  # noqa: ASYNC110, SLF001 - nobody else needs to know
        await asyncio.sleep(0.05)
    print(f"  {'into the graph, behind the calls':34} {time.perf_counter() - started:.0f} s after the last store")
    return times


async def measure(size: int, folder: str) -> None:
    """One size, in a folder of its own."""
    rng = np.random.default_rng(size)
    topics = unit(rng.standard_normal((max(8, size // 50), DIM)))
    rows = around(rng, topics[rng.integers(0, len(topics), size)], 0.75)
    near = around(rng, rows[rng.integers(0, size, CALLS)], 0.9)
    new = around(rng, topics[rng.integers(0, len(topics), CALLS)], 0.75)
    index = FaissIndex(DIM, max_entries=size, store=folder, sealed=True, max_bytes=1 << 40)
    print(f"{size} entries")
    said("store", await fill(index, rows))
    times = []
    for number in rng.integers(0, size, CALLS):
        started = time.perf_counter()
        await index.exact(PARTITION, f"question {number}")
        times.append(time.perf_counter() - started)
    said("the very question", times)
    for name, queries in (("near", near), ("new", new)):
        times, found = await lookups(index, queries)
        said(f"lookup, {name}", times)
        right = [f"question {number}" for number in np.argmax(queries @ rows.T, axis=1)]
        share = np.mean([one == other for one, other in zip(found, right, strict=True)])
        print(f"  {f'recall@1, {name}':34} {share:.3f}", flush=True)
    keeper = index._persistence  # noqa: SLF001 - to begin a snapshot just now
    assert keeper is not None  # noqa: S101 - it was given a folder
    keeper.rewrite()
    said("lookup, while a snapshot is written", (await lookups(index, near))[0])
    await asyncio.to_thread(keeper.wait, 120)
    index.close()
    started = time.perf_counter()
    again = FaissIndex(DIM, max_entries=size, store=folder, sealed=True, max_bytes=1 << 40)
    held = await again.size()
    print(f"  {'a restart':34} {time.perf_counter() - started:.1f} s, {held} entries held then")
    again.close()


if __name__ == "__main__":
    for entries in [int(size) for size in sys.argv[1:]] or [1000, 10_000, 50_000]:
        with tempfile.TemporaryDirectory() as place:
            asyncio.run(measure(entries, place))
