"""FAISS as an Index: as right as brute force, bounded in memory, and moving into a graph behind the calls."""

from __future__ import annotations

import asyncio

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.faiss import FaissIndex
from app.adapters.faiss_parts import TAIL
from app.adapters.fakes import FakeIndex
from app.ports import Vector

DIM = 8


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def unit(seed: int, dim: int = DIM) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)
    return vector / np.linalg.norm(vector)


async def settled(index: FaissIndex) -> None:
    """Wait until nothing is left to move."""
    async with asyncio.timeout(30):
        while index._chores:
            await asyncio.sleep(0.01)


stores = st.tuples(
    st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 10**6), st.sampled_from([1.0, 10.0, 1000.0])
)
lookups = st.tuples(st.sampled_from("ab"), st.integers(0, 10**6), st.sampled_from([-1.0, 0.3, 0.9]))
steps = st.lists(st.one_of(stores, lookups, st.floats(0, 5)), max_size=60)


@pytest.mark.parametrize("hnsw_from", [1000, 5])
@settings(max_examples=60, deadline=None)
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
                partition, seed, threshold = step
                hit, right = [await index.lookup(partition, unit(seed), threshold) for index in (real, brute)]
                assert (hit and round(hit.score, 4)) == (right and round(min(right.score, 1.0), 4))
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
    assert len(index._partitions["p"].graphs[0]) > 2000
    right = 0
    for seed in range(200):
        query = unit(seed, 32)
        hit = await index.lookup("p", query, -1)
        right += hit is not None and hit.question == str(np.argmax(rows @ query))
    assert right >= 190


async def test_a_large_partition_moves_into_a_graph_and_all_of_it_is_still_found() -> None:
    index = FaissIndex(DIM, hnsw_from=50)
    for number in range(50):
        await index.store("p", unit(number), f"q{number}", {"n": number}, ttl=60)
    await settled(index)
    held = index._partitions["p"]
    assert (len(held.flat), [len(graph) for graph in held.graphs]) == (0, [50])
    hits = [await index.lookup("p", unit(number), 0.99) for number in range(50)]
    assert [{"n": n} for n in range(50)] == [hit and hit.entry for hit in hits]


async def test_a_small_partition_stays_exact_beside_a_large_one() -> None:
    index = FaissIndex(DIM, hnsw_from=50)
    for number in range(80):
        await index.store("large" if number % 4 else "small", unit(number), f"q{number}", {}, ttl=60)
    await settled(index)
    assert [len(index._partitions[name].graphs) for name in ("large", "small")] == [1, 0]


async def test_a_replaced_entry_in_a_graph_hides_nothing_behind_it() -> None:
    index = FaissIndex(DIM, hnsw_from=20)
    for number in range(20):
        await index.store("p", unit(number), f"q{number}", {"version": 1}, ttl=60)
    await settled(index)
    await index.store("p", unit(3), "q3", {"version": 2}, ttl=60)
    hit = await index.lookup("p", unit(3), 0.99)
    assert hit is not None
    assert hit.entry == {"version": 2}


async def test_rows_stay_bounded_however_often_entries_are_replaced() -> None:
    index = FaissIndex(DIM, hnsw_from=20)
    for turn in range(3000):
        await index.store("p", unit(turn), f"q{turn % 30}", {"turn": turn}, ttl=60)
    await settled(index)
    held = index._partitions["p"]
    rows = held.flat._index.ntotal + sum(graph._index.ntotal for graph in held.graphs)
    assert await index.size() == len(held) == 30
    assert rows <= 2 * 30 + 2 * TAIL
    assert len(index._deaths) <= 2 * 30 + 65


async def test_the_oldest_of_all_partitions_leave_when_there_are_too_many() -> None:
    index = FaissIndex(DIM, max_entries=3)
    for number, partition in enumerate("aabcb"):
        await index.store(partition, unit(number), f"q{number}", {}, ttl=60)
    assert await index.size() == 3
    found = [await index.lookup(p, unit(n), 0.99) is not None for n, p in enumerate("aabcb")]
    assert found == [False, False, True, True, True]


async def test_a_question_stored_again_is_the_youngest() -> None:
    index = FaissIndex(DIM, max_entries=2)
    for seed, question in enumerate(["first", "second", "first", "third"]):
        await index.store("p", unit(seed), question, {}, ttl=60)
    hits = [await index.lookup("p", unit(seed), 0.99) for seed in (1, 2, 3)]
    assert [hit and hit.question for hit in hits] == [None, "first", "third"]


async def test_a_partition_whose_entries_are_gone_is_gone() -> None:
    clock = Clock()
    index = FaissIndex(DIM, hnsw_from=5, clock=clock)
    for number in range(200):
        await index.store(f"p{number % 10}", unit(number), f"q{number}", {}, ttl=1 + number / 100)
    clock.now = 10
    assert await index.size() == 0
    assert index._partitions == {}
    assert index._deaths == []


async def test_lookups_alone_free_what_has_expired() -> None:
    clock = Clock()
    index = FaissIndex(DIM, clock=clock)
    for number in range(200):
        await index.store("p", unit(number), f"q{number}", {}, ttl=1)
    clock.now = 2
    for _ in range(10):
        assert await index.lookup("other", unit(0), -1) is None
    assert index._partitions == {}


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
