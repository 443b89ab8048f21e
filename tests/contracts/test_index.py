"""Every Index: the very question, or the nearest live entries of one's own partition, while their time lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.cache.faiss.index import FaissIndex
from app.core.ports import Hit, Index, Vector
from app.testing.fakes import FakeIndex

DIM = 8
P = "acme/small/v1/abc"


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


MAKERS: dict[str, Callable[[Clock, Path], Index]] = {
    "fake": lambda clock, _: FakeIndex(clock),
    "faiss exact": lambda clock, _: FaissIndex(DIM, clock=clock),
    "faiss graph": lambda clock, _: FaissIndex(DIM, hnsw_from=2, clock=clock),
    "faiss kept": lambda clock, folder: FaissIndex(DIM, clock=clock, store=str(folder), sealed=False),
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=MAKERS)
def index(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Index:
    return MAKERS[request.param](clock, tmp_path)


def at(degrees: float) -> Vector:
    """A unit vector that is so far from `at(0)`."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vector


async def nearest(index: Index, partition: str, degrees: float, floor: float = 0.9) -> Hit | None:
    found = await index.lookup(partition, at(degrees), floor, 1)
    return next(iter(found.hits), None)


async def test_what_was_stored_comes_back_with_its_cosine(index: Index) -> None:
    entry = {"tokens": ["a", "b"], "usage": {"prompt": 3}, "none": None, "ü": 1.5}
    await index.store(P, at(0), "why?", entry, ttl=60)
    hit = await nearest(index, P, 20)
    assert hit is not None
    assert ("why?", entry, ()) == (hit.question, hit.entry, hit.tried)
    assert hit.score == pytest.approx(np.cos(np.radians(20)), abs=1e-5)


async def test_the_nearest_come_first_and_no_more_than_asked_for(index: Index) -> None:
    for degrees in (50, 10, 30, 80):
        await index.store(P, at(degrees), f"q{degrees}", {"d": degrees}, ttl=60)
    found = await index.lookup(P, at(33), 0.5, most=3)
    assert [("q30", {"d": 30}), ("q50", {"d": 50}), ("q10", {"d": 10})] == [(h.question, h.entry) for h in found.hits]
    assert ["q30"] == [hit.question for hit in (await index.lookup(P, at(33), 0.5, most=1)).hits]


@pytest.mark.parametrize(("floor", "found"), [(0.85, 1), (0.88, 0)])
async def test_a_hit_is_at_or_above_the_floor(index: Index, floor: float, found: int) -> None:
    await index.store(P, at(30), "q", {}, ttl=60)  # the cosine is 0.866
    await index.store(P, at(120), "far", {}, ttl=60)
    assert found == len((await index.lookup(P, at(0), floor)).hits)


async def test_nothing_is_found_in_an_empty_index(index: Index) -> None:
    assert (await index.lookup(P, at(0), -1)).hits == ()
    assert await index.exact(P, "q") is None
    assert await index.size() == 0
    assert await index.forget() == 0


async def test_the_very_question_is_found_without_a_vector_whatever_its_blanks(index: Index) -> None:
    await index.store(P, at(0), "what  is\tit ?\n", {"n": 1}, ttl=60)
    hit = await index.exact(P, " what is it  ?")
    assert hit is not None
    assert (1.0, "what  is\tit ?\n", {"n": 1}) == (hit.score, hit.question, hit.entry)
    assert await index.exact(P, "What is it ?") is None


async def test_indentation_makes_another_question(index: Index) -> None:
    await index.store(P, at(0), "fix:\nif a:\n    b()\n    c()", {}, ttl=60)
    assert await index.exact(P, "fix:\nif a:\n    b()\nc()") is None
    assert await index.exact(P, "fix:\nif a:\n    b()\n    c()  ") is not None


async def test_two_tenants_with_the_same_prompt_never_see_each_others_answers(index: Index) -> None:
    acme, globex = "acme/small/v1/abc", "globex/small/v1/abc"
    await index.store(acme, at(0), "who won?", {"of": "acme"}, ttl=60)
    await index.learn(acme, "who won?", 0.9, right=True)
    assert await index.exact(globex, "who won?") is None
    found = await index.lookup(globex, at(0), -1)
    assert ((), ()) == (found.hits, found.evidence)
    await index.store(globex, at(0), "who won?", {"of": "globex"}, ttl=60)
    for of in ("acme", "globex"):
        exact = await index.exact(f"{of}/small/v1/abc", "who won?")
        near = await nearest(index, f"{of}/small/v1/abc", 0)
        assert ({"of": of}, {"of": of}) == (exact and exact.entry, near and near.entry)


async def test_a_tenants_other_partition_is_another_world(index: Index) -> None:
    await index.store("acme/small/v1/abc", at(0), "q", {}, ttl=60)
    for other in ("acme/small/v1/abd", "acme/small/v2/abc", "acme/large/v1/abc"):
        assert await index.exact(other, "q") is None
        assert (await index.lookup(other, at(0), -1)).hits == ()


async def test_an_entry_dies_when_its_time_is_over(index: Index, clock: Clock) -> None:
    await index.store(P, at(0), "q", {}, ttl=60)
    clock.now += 59.9
    assert await nearest(index, P, 0) is not None
    assert await index.exact(P, "q") is not None
    clock.now += 0.2
    assert await index.exact(P, "q") is None
    assert await nearest(index, P, 0) is None
    assert await index.size() == 0


async def test_behind_expired_entries_the_nearest_live_ones_are_found(index: Index, clock: Clock) -> None:
    for number in range(100):
        await index.store(P, at(1 - number / 100), f"dying {number}", {}, ttl=1)  # the last is the nearest
    await index.store(P, at(10), "living", {}, ttl=60)
    await index.store(P, at(15), "living too", {}, ttl=60)
    clock.now += 2
    assert ["living", "living too"] == [hit.question for hit in (await index.lookup(P, at(0), 0.9, 3)).hits]


async def test_the_same_question_again_replaces_entry_vector_time_and_what_was_tried(
    index: Index, clock: Clock
) -> None:
    await index.store(P, at(0), "the q", {"version": 1}, ttl=10)
    await index.learn(P, "the q", 0.3, right=False)
    await index.store(P, at(40), "the  q", {"version": 2}, ttl=60)
    assert await index.size() == 1
    clock.now += 20
    assert await nearest(index, P, 0) is None
    hit = await nearest(index, P, 40)
    assert hit is not None
    assert ({"version": 2}, ()) == (hit.entry, hit.tried)


async def test_an_entry_stays_as_stored_whatever_the_caller_does_to_its_own(index: Index) -> None:
    entry, vector = {"tokens": ["a"]}, at(0)
    await index.store(P, vector, "q", entry, ttl=60)
    entry["tokens"].append("b")
    vector[:] = at(90)
    hit = await nearest(index, P, 0)
    assert hit is not None
    assert hit.entry == {"tokens": ["a"]}


async def test_an_entry_that_is_not_json_is_a_type_error(index: Index) -> None:
    with pytest.raises(TypeError):
        await index.store(P, at(0), "q", {"when": object()}, ttl=60)
    assert await index.size() == 0


async def test_a_comparison_is_remembered_by_its_entry_and_by_its_tenant(index: Index) -> None:
    other = "acme/large/v1/def"
    await index.store(P, at(0), "q", {}, ttl=60)
    await index.store(P, at(90), "r", {}, ttl=60)
    await index.learn(P, " q", 0.8, right=True)
    await index.learn(other, "never stored", 0.5, right=False)
    await index.learn(P, "q", 0.7, right=False)
    found = await index.lookup(P, at(0), -1)
    assert {"q": ((0.8, True), (0.7, False)), "r": ()} == {hit.question: hit.tried for hit in found.hits}
    assert ((0.8, True), (0.5, False), (0.7, False)) == found.evidence
    assert found.evidence == (await index.lookup(other, at(0), -1)).evidence
    exact = await index.exact(P, "q")
    assert exact is not None
    assert ((0.8, True), (0.7, False)) == exact.tried


async def test_the_last_64_comparisons_of_an_entry_and_512_of_a_tenant_count(index: Index) -> None:
    await index.store(P, at(0), "q", {}, ttl=60)
    for number in range(600):
        await index.learn(P, "q", number / 1000, right=True)
    found = await index.lookup(P, at(0), -1)
    assert (512, 0.599, 0.088) == (len(found.evidence), found.evidence[-1][0], found.evidence[0][0])
    assert (64, 0.599, 0.536) == (len(found.hits[0].tried), found.hits[0].tried[-1][0], found.hits[0].tried[0][0])


PLACES = ("acme/small/v1/a", "acme/small/v2/a", "acme/large/v1/a", "globex/small/v1/a", "globex/gpt%2F5/v1/a")


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({"tenant": "acme"}, PLACES[3:]),
        ({"model": "small"}, (PLACES[2], PLACES[4])),
        ({"model": "gpt/5"}, PLACES[:4]),
        ({"tenant": "acme", "model": "small", "version": "v2"}, (PLACES[0], *PLACES[2:])),
        ({"version": "v1"}, (PLACES[1],)),
        ({"tenant": "nobody"}, PLACES),
        ({}, ()),
    ],
)
async def test_what_is_forgotten_is_gone_and_nothing_else(index: Index, which: dict[str, str], left: tuple) -> None:
    for place in PLACES:
        for degrees in (0, 60):
            await index.store(place, at(degrees), f"q{degrees}", {}, ttl=60)
    assert 2 * (len(PLACES) - len(left)) == await index.forget(**which)
    assert 2 * len(left) == await index.size()
    for place in PLACES:
        assert (place in left) is (await index.exact(place, "q60") is not None)
        assert (place in left) is (await nearest(index, place, 0) is not None)


async def test_a_forgotten_tenants_evidence_is_gone_but_not_that_of_a_forgotten_model(index: Index) -> None:
    other = "globex/small/v1/abc"
    for partition in (P, other):
        await index.learn(partition, "q", 0.5, right=True)
    await index.forget(tenant="acme", model="small")
    assert (await index.lookup(P, at(0), -1)).evidence
    await index.forget(tenant="acme")
    assert not (await index.lookup(P, at(0), -1)).evidence
    assert (await index.lookup(other, at(0), -1)).evidence


async def test_the_stock_tells_each_tenants_live_entries_and_bytes(index: Index, clock: Clock) -> None:
    await index.store("a%20b/m/v/h", at(0), "q", {"text": "x" * 1000}, ttl=60)
    await index.store("acme/m/v/h", at(0), "q", {}, ttl=60)
    await index.store("acme/m/v/i", at(0), "q", {}, ttl=1)
    clock.now += 2
    stock = await index.stock()
    assert {"a b": 1, "acme": 1} == {tenant: entries for tenant, (entries, _) in stock.tenants.items()}
    assert stock.tenants["a b"][1] - stock.tenants["acme"][1] == len('"text":""') + 1000 + (
        1 if isinstance(index, FakeIndex) else 0  # its JSON has a blank
    )
    assert stock.evicted == 0


ODD = {
    "empty": "",
    "blank": " ",
    "half": "half a pair \ud800",
    "nul": "\x00",
    "long": "x" * 10**6,
    "left": "\u202eright",
}


@pytest.mark.parametrize("question", ODD.values(), ids=ODD.keys())
async def test_odd_questions_are_kept_like_any(index: Index, question: str) -> None:
    await index.store(P, at(0), question, {"text": question}, ttl=60)
    await index.learn(P, question, 0.5, right=True)
    for hit in (await index.exact(P, question), await nearest(index, P, 0)):
        assert hit is not None
        assert (question, {"text": question}, ((0.5, True),)) == (hit.question, hit.entry, hit.tried)


async def test_stores_and_lookups_at_once_all_find_their_own(index: Index) -> None:
    async def both(number: int) -> str | None:
        await index.store(P, at(number), f"q{number}", {}, ttl=60)
        hit = await nearest(index, P, number)
        return hit and hit.question

    assert [f"q{n}" for n in range(0, 360, 5)] == await asyncio.gather(*(both(n) for n in range(0, 360, 5)))
    assert await index.size() == 72
