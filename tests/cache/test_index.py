"""FAISS as an Index: as right as brute force, bounded in memory, and moving into a graph behind the calls."""

from __future__ import annotations

import asyncio

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cache.faiss.index import FaissIndex
from app.cache.faiss.partition import TAIL
from app.config import load_file
from app.core.ports import Hit, Vector
from app.testing.fakes import FakeIndex
from tests.examples import examples

DIM = 8


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def unit(seed: int, dim: int = DIM) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)
    return vector / np.linalg.norm(vector)


async def first(index: FaissIndex, partition: str, vector: Vector, floor: float) -> Hit | None:
    found = await index.lookup(partition, vector, floor, 1)
    return next(iter(found.hits), None)


async def settled(index: FaissIndex) -> None:
    """Wait until nothing is left to move."""
    async with asyncio.timeout(30):
        while index._entries.chores:
            await asyncio.sleep(0.01)


stores = st.tuples(
    st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 10**6), st.sampled_from([1.0, 10.0, 1000.0])
)
lookups = st.tuples(st.sampled_from("ab"), st.integers(0, 10**6), st.sampled_from([-1.0, 0.3, 0.9]))
steps = st.lists(st.one_of(stores, lookups, st.floats(0, 5)), max_size=60)


@pytest.mark.parametrize("hnsw_from", [1000, 5])
@settings(max_examples=examples(60), deadline=None)
@given(steps=steps)
def test_every_lookup_finds_what_brute_force_finds(hnsw_from: int, steps: list) -> None:
    async def play() -> None:
        clock = Clock()
        real, brute = FaissIndex(DIM, hnsw_from=hnsw_from, clock=clock), FakeIndex(clock)
        for step in steps:
            if isinstance(step, float):
                clock.now += step
            elif len(step) == 4:
                partition, question, seed, ttl = step
                for index in (real, brute):
                    await index.store(partition, unit(seed), f"q{question}", {"seed": seed}, ttl)
            else:
                partition, seed, floor = step
                found, right = [await index.lookup(partition, unit(seed), floor, 3) for index in (real, brute)]
                assert [round(min(hit.score, 1.0), 4) for hit in right.hits] == [
                    round(hit.score, 4) for hit in found.hits
                ]
            assert await real.size() == await brute.size()

    asyncio.run(play())


async def test_nineteen_of_twenty_lookups_in_a_graph_find_the_nearest() -> None:
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((3000, 32), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = FaissIndex(32, hnsw_from=500)
    for number, row in enumerate(rows):
        await index.store("p", row, str(number), {}, ttl=60)
    await settled(index)
    assert len(index._entries.partitions["p"].graphs[0]) > 2000
    right = 0
    for seed in range(200):
        query = unit(seed, 32)
        hit = await first(index, "p", query, -1)
        right += hit is not None and hit.question == str(np.argmax(rows @ query))
    assert right >= 190


async def test_a_large_partition_moves_into_a_graph_and_all_of_it_is_still_found() -> None:
    index = FaissIndex(DIM, hnsw_from=50)
    for number in range(50):
        await index.store("p", unit(number), f"q{number}", {"n": number}, ttl=60)
    await settled(index)
    held = index._entries.partitions["p"]
    assert (len(held.flat), [len(graph) for graph in held.graphs]) == (0, [50])
    hits = [await first(index, "p", unit(number), 0.99) for number in range(50)]
    assert [{"n": n} for n in range(50)] == [hit and hit.entry for hit in hits]


async def test_a_small_partition_stays_exact_beside_a_large_one() -> None:
    index = FaissIndex(DIM, hnsw_from=50)
    for number in range(80):
        await index.store("large" if number % 4 else "small", unit(number), f"q{number}", {}, ttl=60)
    await settled(index)
    assert [len(index._entries.partitions[name].graphs) for name in ("large", "small")] == [1, 0]


async def test_the_nearest_of_all_parts_come_in_one_order() -> None:
    index = FaissIndex(DIM, hnsw_from=50)
    for number in range(90):
        await index.store("p", unit(number), f"q{number}", {}, ttl=60)
        if number == 60:
            await settled(index)
    held = index._entries.partitions["p"]
    assert len(held.flat) > 0 < len(held.graphs)
    found = await index.lookup("p", unit(1000), -1, 20)
    scores = sorted((float(unit(number) @ unit(1000)) for number in range(90)), reverse=True)
    assert [hit.score for hit in found.hits] == pytest.approx(scores[:20], abs=1e-5)


async def test_a_replaced_entry_in_a_graph_hides_nothing_behind_it() -> None:
    index = FaissIndex(DIM, hnsw_from=20)
    for number in range(20):
        await index.store("p", unit(number), f"q{number}", {"version": 1}, ttl=60)
    await settled(index)
    await index.store("p", unit(3), "q3", {"version": 2}, ttl=60)
    hit = await first(index, "p", unit(3), 0.99)
    assert hit is not None
    assert hit.entry == {"version": 2}


async def test_rows_stay_bounded_however_often_entries_are_replaced() -> None:
    index = FaissIndex(DIM, hnsw_from=20)
    for turn in range(3000):
        await index.store("p", unit(turn), f"q{turn % 30}", {"turn": turn}, ttl=60)
    await settled(index)
    held = index._entries.partitions["p"]
    rows = held.flat._index.ntotal + sum(graph._index.ntotal for graph in held.graphs)
    assert await index.size() == len(held) == 30
    assert rows <= 2 * 30 + 2 * TAIL
    assert len(index._entries.deaths) <= 2 * 30 + 65


async def test_a_partition_whose_entries_are_gone_is_gone() -> None:
    clock = Clock()
    index = FaissIndex(DIM, hnsw_from=5, clock=clock)
    for number in range(200):
        await index.store(f"p{number % 10}", unit(number), f"q{number}", {}, ttl=1 + number / 100)
    clock.now = 10
    assert await index.size() == 0
    assert index._entries.partitions == {}
    assert index._entries.deaths == []


async def test_lookups_alone_free_what_has_expired() -> None:
    clock = Clock()
    index = FaissIndex(DIM, clock=clock)
    for number in range(200):
        await index.store("p", unit(number), f"q{number}", {}, ttl=1)
    clock.now = 2
    for _ in range(10):
        assert (await index.lookup("other", unit(0), -1)).hits == ()
    assert index._entries.partitions == {}


def test_the_cache_is_told_whose_vectors_it_keeps() -> None:
    cache = load_file("configs/local.yaml").graph.ports["cache"]
    assert ("bundled:minilm-l6-v2", "state") == (cache.options["encoder"], cache.options["store"])


async def test_a_worth_that_is_no_number_is_none() -> None:
    index = FaissIndex(DIM, max_entries=2)
    for number in range(5):
        await index.store("p", unit(number), f"q{number}", {}, 60, worth=float("nan"))
    assert {"q3", "q4"} == {slot.key for slot in index._entries.slots.values()}


async def test_faiss_runs_on_one_thread() -> None:
    assert await FaissIndex(DIM)._run(faiss.omp_get_max_threads) == 1


@pytest.mark.parametrize(
    "vector", [np.zeros(3, np.float32), np.zeros((1, DIM), np.float32), np.full(DIM, np.nan, np.float32)]
)
async def test_a_vector_of_another_shape_or_not_finite_is_a_value_error(vector: Vector) -> None:
    index = FaissIndex(DIM)
    with pytest.raises(ValueError, match="vector"):
        await index.store("p", vector, "q", {}, ttl=60)
    with pytest.raises(ValueError, match="vector"):
        await index.lookup("p", vector, 0.5)


def test_an_index_for_no_entries_is_refused() -> None:
    with pytest.raises(ValueError, match="max_entries 0"):
        FaissIndex(max_entries=0)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_a_tenants_share_is_part_of_the_room(share: float) -> None:
    with pytest.raises(ValueError, match="tenant_share"):
        FaissIndex(tenant_share=share)
