"""Who leaves a full cache: the least worth per byte, the longest unused, and never all of one tenant for another."""

from __future__ import annotations

import zlib

import numpy as np

from app.cache.faiss.index import OVERHEAD, FaissIndex
from app.core.ports import Vector

DIM = 8


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(DIM, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def seed(tenant: str, name: str) -> int:
    return zlib.crc32(f"{tenant}/{name}".encode())


async def put(index: FaissIndex, name: str, *, tenant: str = "a", worth: float = 0.0, size: int = 0) -> None:
    await index.store(f"{tenant}/m/v/h", unit(seed(tenant, name)), name, {"x": "y" * size}, 60, worth)


async def left(index: FaissIndex, names: str, tenant: str = "a") -> str:
    """Those of these that are still there."""
    return "".join([name for name in names if (tenant, name) in await held(index)])


async def held(index: FaissIndex) -> set[tuple[str, str]]:
    return {(slot.tenant, slot.key) for slot in index._entries.slots.values()}


async def test_without_worth_the_oldest_leaves() -> None:
    index = FaissIndex(DIM, max_entries=3)
    for name in "abcde":
        await put(index, name)
    assert await left(index, "abcde") == "cde"
    assert (await index.stock()).evicted == 2


async def test_a_question_stored_again_is_the_youngest() -> None:
    index = FaissIndex(DIM, max_entries=2)
    for name in "abac":
        await put(index, name)
    assert await left(index, "abc") == "ac"


async def test_what_was_asked_for_lately_stays() -> None:
    index = FaissIndex(DIM, max_entries=3)
    for name in "abc":
        await put(index, name)
    assert await index.exact("a/m/v/h", "a")
    hit = (await index.lookup("a/m/v/h", unit(seed("a", "b")), 0.99)).hits[0]
    assert hit.question == "b"
    await put(index, "d")
    assert await left(index, "abcd") == "abd"


async def test_the_dear_outlasts_the_cheap() -> None:
    index = FaissIndex(DIM, max_entries=3)
    await put(index, "a", worth=0.01)
    for name in "bcde":
        await put(index, name, worth=0.0001)
    assert await left(index, "abcde") == "ade"


async def test_of_equal_worth_the_large_leaves() -> None:
    index = FaissIndex(DIM, max_entries=3)
    for name, size in zip("abc", (0, 100_000, 10), strict=True):
        await put(index, name, worth=0.01, size=size)
    await put(index, "d", worth=0.01)
    assert await left(index, "abcd") == "acd"


async def test_what_was_dear_once_and_is_never_asked_for_leaves_in_the_end() -> None:
    index = FaissIndex(DIM, max_entries=10)
    await put(index, "dear", worth=0.05)
    for number in range(2000):
        await put(index, f"n{number}", worth=0.0005)
    assert ("a", "dear") not in await held(index)


async def test_memory_is_bounded_in_bytes_too() -> None:
    index = FaissIndex(DIM, max_bytes=200_000, tenant_share=1)
    for number in range(100):
        await put(index, f"n{number}", size=10_000)
    ((entries, size),) = (await index.stock()).tenants.values()
    assert 15 <= entries <= 19
    assert size <= 200_000


async def test_an_answer_too_large_for_a_tenants_share_drives_nothing_out() -> None:
    index = FaissIndex(DIM, max_bytes=100_000, tenant_share=0.5)
    for name in "ab":
        await put(index, name)
    await put(index, "huge", size=60_000)
    assert await left(index, "ab") == "ab"
    assert await index.size() == 2


async def test_one_tenant_alone_may_fill_the_room() -> None:
    index = FaissIndex(DIM, max_entries=10, tenant_share=0.2)
    for number in range(12):
        await put(index, f"n{number}")
    assert await index.size() == 10


async def test_a_busy_tenant_leaves_a_quiet_one_its_entries() -> None:
    index = FaissIndex(DIM, max_entries=20, tenant_share=0.5)
    for number in range(8):
        await put(index, f"q{number}", tenant="quiet")
    for number in range(500):
        await put(index, f"b{number}", tenant="busy", worth=1.0)
    stock = await index.stock()
    assert {"quiet": 8, "busy": 12} == {tenant: entries for tenant, (entries, _) in stock.tenants.items()}


async def test_who_holds_more_than_its_share_makes_room_for_a_newcomer() -> None:
    index = FaissIndex(DIM, max_entries=20, tenant_share=0.5)
    for number in range(20):
        await put(index, f"b{number}", tenant="busy", worth=1.0)
    for number in range(30):
        await put(index, f"n{number}", tenant="new")
    stock = await index.stock()
    assert {"busy": 10, "new": 10} == {tenant: entries for tenant, (entries, _) in stock.tenants.items()}


async def test_the_share_holds_for_bytes() -> None:
    index = FaissIndex(DIM, max_bytes=20 * (OVERHEAD + 1000), tenant_share=0.5)
    for number in range(5):
        await put(index, f"q{number}", tenant="quiet", size=900)
    for number in range(100):
        await put(index, f"b{number}", tenant="busy", size=900)
    stock = await index.stock()
    assert stock.tenants["quiet"][0] == 5


async def test_ranks_of_what_is_asked_for_over_and_over_do_not_pile_up() -> None:
    index = FaissIndex(DIM, max_entries=5)
    for turn in range(300):
        await put(index, f"n{turn % 6}")
        for _ in range(10):
            await index.exact("a/m/v/h", f"n{turn % 6}")
    eviction = index._entries.eviction
    assert all(len(ranks._heap) <= 2 * 5 + 65 for ranks in (eviction.all, *eviction.tenants.values()))
