"""Every Index: the nearest live entry of one's own partition, for as long as it was stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from app.adapters.faiss import FaissIndex
from app.adapters.fakes import FakeIndex
from app.ports import Index, Vector

DIM = 8


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


MAKERS: dict[str, Callable[[Clock], Index]] = {
    "fake": FakeIndex,
    "faiss exact": lambda clock: FaissIndex(DIM, clock=clock),
    "faiss graph": lambda clock: FaissIndex(DIM, hnsw_from=2, clock=clock),
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=MAKERS)
def index(request: pytest.FixtureRequest, clock: Clock) -> Index:
    return MAKERS[request.param](clock)


def at(degrees: float) -> Vector:
    """A unit vector that is so far from `at(0)`."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vector


async def test_what_was_stored_comes_back_with_its_cosine(index: Index) -> None:
    entry = {"tokens": ["a", "b"], "usage": {"prompt": 3}, "none": None, "ü": 1.5}
    await index.store("p", at(0), "why?", entry, ttl=60)
    hit = await index.lookup("p", at(20), threshold=0.5)
    assert hit is not None
    assert ("why?", entry) == (hit.question, hit.entry)
    assert hit.score == pytest.approx(np.cos(np.radians(20)), abs=1e-5)


async def test_the_nearest_of_several_is_the_hit(index: Index) -> None:
    for degrees in (50, 10, 30, 80):
        await index.store("p", at(degrees), f"q{degrees}", {"d": degrees}, ttl=60)
    hit = await index.lookup("p", at(33), threshold=0.5)
    assert hit is not None
    assert (hit.question, hit.entry) == ("q30", {"d": 30})


@pytest.mark.parametrize(("threshold", "found"), [(0.85, True), (0.88, False)])
async def test_a_hit_is_at_or_above_the_threshold(index: Index, threshold: float, found: bool) -> None:
    await index.store("p", at(30), "q", {}, ttl=60)  # the cosine is 0.866
    assert found is (await index.lookup("p", at(0), threshold) is not None)


async def test_nothing_is_found_in_an_empty_index(index: Index) -> None:
    assert await index.lookup("p", at(0), threshold=-1) is None
    assert await index.size() == 0


async def test_another_partitions_entries_are_never_found(index: Index) -> None:
    await index.store("tenant-a", at(0), "q", {}, ttl=60)
    assert await index.lookup("tenant-b", at(0), threshold=-1) is None


async def test_the_same_question_is_kept_in_two_partitions(index: Index) -> None:
    await index.store("a", at(0), "q", {"of": "a"}, ttl=60)
    await index.store("b", at(0), "q", {"of": "b"}, ttl=60)
    hits = [await index.lookup(partition, at(0), 0.9) for partition in ("a", "b")]
    assert [hit and hit.entry for hit in hits] == [{"of": "a"}, {"of": "b"}]


async def test_an_entry_dies_when_its_time_is_over(index: Index, clock: Clock) -> None:
    await index.store("p", at(0), "q", {}, ttl=60)
    clock.now += 59.9
    assert await index.lookup("p", at(0), 0.9) is not None
    clock.now += 0.2
    assert await index.lookup("p", at(0), 0.9) is None
    assert await index.size() == 0


async def test_behind_expired_entries_the_nearest_live_one_is_found(index: Index, clock: Clock) -> None:
    for number in range(100):
        await index.store("p", at(1 - number / 100), f"dying {number}", {}, ttl=1)  # the last is the nearest
    await index.store("p", at(10), "living", {}, ttl=60)
    clock.now += 2
    hit = await index.lookup("p", at(0), 0.9)
    assert hit is not None
    assert hit.question == "living"


async def test_the_same_question_again_replaces_entry_vector_and_time(index: Index, clock: Clock) -> None:
    await index.store("p", at(0), "q", {"version": 1}, ttl=10)
    await index.store("p", at(40), "q", {"version": 2}, ttl=60)
    assert await index.size() == 1
    clock.now += 20
    assert await index.lookup("p", at(0), 0.9) is None
    hit = await index.lookup("p", at(40), 0.9)
    assert hit is not None
    assert hit.entry == {"version": 2}


async def test_an_entry_stays_as_stored_whatever_the_caller_does_to_its_own(index: Index) -> None:
    entry, vector = {"tokens": ["a"]}, at(0)
    await index.store("p", vector, "q", entry, ttl=60)
    entry["tokens"].append("b")
    vector[:] = at(90)
    hit = await index.lookup("p", at(0), 0.9)
    assert hit is not None
    assert hit.entry == {"tokens": ["a"]}


async def test_an_entry_that_is_not_json_is_a_type_error(index: Index) -> None:
    with pytest.raises(TypeError):
        await index.store("p", at(0), "q", {"when": object()}, ttl=60)
    assert await index.size() == 0


async def test_stores_and_lookups_at_once_all_find_their_own(index: Index) -> None:
    async def both(number: int) -> str | None:
        await index.store("p", at(number), f"q{number}", {}, ttl=60)
        hit = await index.lookup("p", at(number), 0.9)
        return hit and hit.question

    assert [f"q{n}" for n in range(0, 360, 5)] == await asyncio.gather(*(both(n) for n in range(0, 360, 5)))
    assert await index.size() == 72
