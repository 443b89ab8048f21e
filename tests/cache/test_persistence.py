"""What of the semantic cache survives: restarts, kills, torn files, full disks, other encoders; and what must not."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cache.faiss.index import FaissIndex
from app.core.ports import Vector
from app.testing.fakes import FakeIndex
from tests.examples import examples
from tests.kit import until

DIM = 8
P = "acme/small/v1/abc"


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(DIM, dtype=np.float32)
    return vector / np.linalg.norm(vector)


OPEN: list[FaissIndex] = []


def opened(place: object, **options: Any) -> FaissIndex:
    OPEN.append(FaissIndex(**{"dim": DIM, "store": str(place), "sealed": False, "encoder": "e", **options}))
    return OPEN[-1]


async def put(index: FaissIndex, *names: str, partition: str = P, ttl: float = 60) -> None:
    for name in names:
        await index.store(partition, unit(len(name)), name, {"answer": f"to {name}"}, ttl)


async def saved(index: FaissIndex) -> None:
    """Wait until the store has it all."""
    assert index._persistence
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(index._persistence.wait, 20):
            await asyncio.sleep(0.02)  # it fails at the moment


def questions(index: FaissIndex) -> list[str]:
    return [slot.question for slot in index._entries.slots.values()]


def files(folder: Path, kind: str = "*") -> list[Path]:
    return sorted(folder.glob(f"0*.{kind}"))


def written(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in files(folder))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "state"))
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "cache"
    made.mkdir(mode=0o700)
    return made


# -- restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rewritten", [False, True])
async def test_entries_evidence_and_worth_come_back_after_a_restart(folder: Path, rewritten: bool) -> None:
    index = opened(folder)
    await index.store(P, unit(1), "a  question", {"answer": "Zürich"}, 60, worth=0.5)
    await index.learn(P, "a question", 0.7, right=True)
    await index.learn("acme/large/v1/x", "another", 0.2, right=False)
    if rewritten:
        index._persistence.rewrite()  # type: ignore[union-attr]
    index.close()
    index = opened(folder)
    exact = await index.exact(P, "a question")
    found = await index.lookup(P, unit(1), 0.99)
    assert exact is not None
    assert ("a  question", {"answer": "Zürich"}, ((0.7, True),)) == (exact.question, exact.entry, exact.tried)
    assert [("a  question", ((0.7, True),))] == [(hit.question, hit.tried) for hit in found.hits]
    assert ((0.7, True), (0.2, False)) == found.evidence
    assert [0.5] == [slot.worth for slot in index._entries.slots.values()]
    assert (await index.stock()).saving is True


ODD = {"empty": "", "half": "half a pair \ud800", "nul": "\x00", "long": "x" * 10**6, "umlaut": "Zürich 東京"}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
async def test_odd_questions_come_back_as_they_were(folder: Path, name: str) -> None:
    index = opened(folder)
    await put(index, name, "another")
    index.close()
    index = opened(folder)
    assert [name, "another"] == questions(index)
    hit = await index.exact(P, name)
    assert hit is not None
    assert {"answer": f"to {name}"} == hit.entry


async def test_logs_of_many_short_lives_are_replaced_too(folder: Path) -> None:
    for number in range(6):
        index = opened(folder)
        assert index._persistence
        index._persistence.writer.compact = 3000
        await put(index, f"q{number}" * 100)
        await saved(index)
        index.close()
    assert files(folder, "snapshot")
    assert len(files(folder)) <= 4
    assert 6 == len(questions(opened(folder)))


async def test_time_to_live_goes_on_while_the_process_is_down(folder: Path) -> None:
    index = opened(folder)
    await put(index, "short", ttl=5)
    await put(index, "long", ttl=500)
    index.close()
    index = opened(folder, clock=lambda: time.time() + 10)
    assert ["long"] == questions(index)


stores = st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.sampled_from([50.0, 500.0]))
learned = st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.floats(0, 1), st.booleans())
forgotten = st.tuples(st.sampled_from(["a", "b", None]))
restarts = st.sampled_from(["restart", "compact"])
steps = st.lists(st.one_of(stores, learned, forgotten, restarts), max_size=25)


@settings(max_examples=examples(25), deadline=None)
@given(steps=steps)
def test_whatever_happens_a_restart_changes_nothing(tmp_path_factory: pytest.TempPathFactory, steps: list) -> None:
    folder = tmp_path_factory.mktemp("cache")

    async def play() -> None:
        real, fake = opened(folder), FakeIndex()
        for step in steps:
            if step == "restart":
                real.close()
                real = opened(folder)
            elif step == "compact":
                real._persistence.rewrite()  # type: ignore[union-attr]
            elif len(step) == 1:
                assert await real.forget(*step) == await fake.forget(*step)
            elif len(step) == 3:
                for index in (real, fake):
                    await index.store(f"{step[0]}/m/v/h", unit(step[1]), f"q{step[1]}", {"ttl": step[2]}, step[2])
            else:
                for index in (real, fake):
                    await index.learn(f"{step[0]}/m/v/h", f"q{step[1]}", *step[2:])
        real.close()
        real = opened(folder)
        for tenant in "ab":
            found, right = [await index.lookup(f"{tenant}/m/v/h", unit(0), -1, 20) for index in (real, fake)]
            assert [(h.question, h.entry, h.tried) for h in right.hits] == [
                (h.question, h.entry, h.tried) for h in found.hits
            ]
            assert right.evidence == found.evidence
        real.close()

    asyncio.run(play())


DOOMED = """
import asyncio, sys
from app.cache.faiss.index import FaissIndex
import numpy as np

async def main():
    index = FaissIndex(8, store=sys.argv[1], sealed=False, encoder="e")
    index._persistence.writer.compact = 200_000
    for number in range(10**9):
        vector = np.zeros(8, np.float32)
        vector[number % 8] = 1
        await index.store("acme/small/v1/abc", vector, f"q{number}", {"n": number, "x": "x" * 200}, 600)
        if number % 50 == 49:
            await asyncio.to_thread(index._persistence.wait, 10)
            print(number, flush=True)

asyncio.run(main())
"""


def run_and_kill(folder: Path, after: int) -> int:
    """The last entry that the process knew to be saved."""
    with subprocess.Popen([sys.executable, "-c", DOOMED, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        sure = 0
        while sure < after:
            sure = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        return max([sure, *(int(line) for line in process.stdout.read().split())])


@pytest.mark.parametrize("after", [60, 2000])
async def test_a_process_killed_while_it_writes_loses_only_its_last_moment(folder: Path, after: int) -> None:
    sure = await asyncio.to_thread(run_and_kill, folder, after)
    index = opened(folder)
    numbers = [int(question[1:]) for question in questions(index)]
    assert list(range(len(numbers))) == numbers
    assert len(numbers) > sure
    hit = await index.exact(P, f"q{sure}")
    assert hit is not None
    assert hit.entry["n"] == sure
    await put(index, "new")
    index.close()
    assert "new" in questions(opened(folder))


# -- damaged files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 40, 100])
async def test_a_torn_last_record_costs_only_itself(folder: Path, cut: int) -> None:
    index = opened(folder)
    await put(index, "one", "two", "three")
    index.close()
    (file,) = files(folder, "log")
    file.write_bytes(file.read_bytes()[:-cut])
    index = opened(folder)
    assert ["one", "two"] == questions(index)
    await put(index, "four")
    index.close()
    assert ["one", "two", "four"] == questions(opened(folder))


async def test_a_damaged_record_ends_its_own_file_only(folder: Path) -> None:
    for name in ("one", "two", "three"):
        index = opened(folder)
        await put(index, name, name * 2)
        index.close()
    file = files(folder, "log")[1]
    data = bytearray(file.read_bytes())
    data[-20] ^= 0xFF
    file.write_bytes(data)
    assert ["one", "oneone", "two", "three", "threethree"] == questions(opened(folder))


async def test_an_unfinished_snapshot_counts_for_nothing(folder: Path) -> None:
    index = opened(folder)
    await put(index, "one", "two")
    await saved(index)
    before = {file: file.read_bytes() for file in files(folder, "log")}
    index._persistence.rewrite()  # type: ignore[union-attr]
    index.close()
    (snapshot,) = files(folder, "snapshot")
    snapshot.write_bytes(snapshot.read_bytes()[:-30])
    for file, data in before.items():
        file.write_bytes(data)
    index = opened(folder)
    assert ["one", "two"] == questions(index)
    await saved(index)
    assert len(files(folder, "snapshot")) == 1  # a whole one took its place


@pytest.mark.parametrize("junk", [b"", b"junk", os.urandom(4096), b"\xff" * 100])
async def test_a_file_of_junk_stops_nothing(folder: Path, junk: bytes) -> None:
    for name in ("000000000001.snapshot", "000000000002.log", "notes.txt"):
        (folder / name).write_bytes(junk)
    index = opened(folder)
    await put(index, "one")
    index.close()
    assert ["one"] == questions(opened(folder))


@pytest.mark.parametrize("other", [{"encoder": "another"}, {"dim": 16}])
async def test_another_encoders_vectors_are_not_loaded(
    folder: Path, other: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    index = opened(folder)
    await put(index, "one")
    index.close()
    index = opened(folder, **other)
    assert [] == questions(index)
    assert "it holds vectors of e" in caplog.text


# -- secrets and erasure ---------------------------------------------------------------------------


async def test_files_are_sealed_and_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    index = opened(folder, sealed=True)
    await put(index, "a question of a tenant")
    await index.learn(P, "a question of a tenant", 0.5, right=True)
    await saved(index)
    assert b"tenant" not in written(folder)
    assert b"acme" not in written(folder)
    assert {0o600} == {mode(file) for file in [*files(folder), folder / ".lock"]}
    assert mode(folder) == 0o700
    index.close()
    assert ["a question of a tenant"] == questions(opened(folder, sealed=True))


async def test_what_another_secret_sealed_is_passed_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = opened(folder, sealed=True)
    await put(index, "one")
    index.close()
    monkeypatch.setenv("PENSTOCK_SECRET", "another secret of at least 32 characters")
    index = opened(folder, sealed=True)
    assert [] == questions(index)
    assert "another PENSTOCK_SECRET" in caplog.text


async def test_what_was_forgotten_is_in_no_file_and_does_not_come_back(folder: Path) -> None:
    index = opened(folder)
    await put(index, "keep this", partition="globex/m/v/h")
    await put(index, "drop this")
    await index.learn(P, "drop this", 0.5, right=True)
    await saved(index)
    assert b"drop this" in written(folder)
    assert await index.forget(tenant="acme") == 1
    assert b"drop this" not in written(folder)
    assert b"keep this" in written(folder)
    index.close()
    index = opened(folder)
    assert ["keep this"] == questions(index)
    assert (await index.lookup(P, unit(0), -1)).evidence == ()


# -- stores that fail ------------------------------------------------------------------------------


class Flaky(MemoryFileSystem):
    """An object store that is full, away or slow when a test says so."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    trouble: Exception | None = None
    free = threading.Event()
    held = 0

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self._trouble()
        return super()._open(path, mode, **kwargs)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self._trouble()
        return super().ls(path, detail, **kwargs)

    def _trouble(self) -> None:
        if not self.free.is_set():
            Flaky.held += 1
            assert self.free.wait(60), "somebody who should have freed the store waits for it"
        if self.trouble:
            raise self.trouble


@pytest.fixture
def flaky() -> Iterator[type[Flaky]]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    Flaky.clear_instance_cache()
    Flaky.trouble, Flaky.held = None, 0
    Flaky.free.set()
    Flaky.store.clear()
    yield Flaky
    Flaky.trouble = None
    Flaky.free.set()


FULL = OSError(errno.ENOSPC, "No space left on device")


async def test_an_object_store_keeps_it_in_segments(flaky: type[Flaky]) -> None:
    for name in ("one", "two", "three"):
        index = opened("flaky://bucket/cache")
        await put(index, name)
        await saved(index)
        await put(index, name * 2)
        index.close()
    assert len(flaky.store) == 6
    assert ["one", "oneone", "two", "twotwo", "three", "threethree"] == questions(opened("flaky://bucket/cache"))


async def test_a_full_store_is_said_once_and_made_up_for_when_there_is_room(
    flaky: type[Flaky], caplog: pytest.LogCaptureFixture
) -> None:
    index = opened("flaky://bucket/cache")
    persistence = index._persistence
    assert persistence
    persistence.retry = 0.05
    await put(index, "before")
    await saved(index)
    flaky.trouble = FULL
    await put(index, "while full")
    assert not await asyncio.to_thread(persistence.wait, 20)
    for number in range(20):
        await put(index, f"also while full {number}")
        persistence._wake.set()
        await asyncio.sleep(0.02)
    assert await index.exact(P, "while full") is not None
    assert (await index.stock()).saving is False
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "No space left" in warnings[0]
    assert "while full" not in warnings[0]
    flaky.trouble = None
    async with asyncio.timeout(20):
        while not (await index.stock()).saving:
            await asyncio.sleep(0.05)
    index.close()
    assert 22 == len(questions(opened("flaky://bucket/cache")))


async def test_a_full_disk_in_the_middle_of_a_record_spoils_nothing_after_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = opened(folder)
    persistence = index._persistence
    assert persistence
    persistence.retry = 0.05
    await put(index, "one")
    await saved(index)
    real = persistence.writer._segment
    assert real is not None

    class Half:
        """Takes half of what it is given, and then has no room."""

        def write(self, data: bytes) -> int:
            real.write(data[: len(data) // 2])
            raise FULL

        def close(self) -> None:
            real.close()

    monkeypatch.setattr(persistence.writer, "_segment", Half())
    await put(index, "two")
    assert not await asyncio.to_thread(persistence.wait, 20)
    await put(index, "three")
    await saved(index)
    index.close()
    assert {"one", "two", "three"} == set(questions(opened(folder)))


async def test_a_snapshot_that_finds_no_room_leaves_no_half_of_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = opened(folder)
    await put(index, *(f"q{number}" for number in range(100)))
    await saved(index)
    before = files(folder)
    persistence = index._persistence
    assert persistence
    framed, count = persistence.writer._framed, iter(range(10**6))

    def full(record: Any) -> bytes:
        if next(count) > 50:
            raise FULL
        return framed(record)

    monkeypatch.setattr(persistence.writer, "_framed", full)
    persistence.rewrite()
    assert not await asyncio.to_thread(persistence.wait, 20)
    assert before == files(folder)
    monkeypatch.undo()
    persistence._again = 0.0
    await saved(index)
    assert 1 == len(files(folder))


async def test_what_is_forgotten_while_a_snapshot_is_written_does_not_come_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = opened(folder)
    await put(index, *(f"q{number}" for number in range(300)))
    persistence = index._persistence
    assert persistence
    monkeypatch.setattr("app.cache.faiss.persistence.PIECE", 1)
    await saved(index)
    middle, on, count = threading.Event(), threading.Event(), iter(range(10**6))
    framed = persistence.writer._framed

    def halted(record: Any) -> bytes:
        if next(count) == 100:
            middle.set()
            assert on.wait(60)
        return framed(record)

    monkeypatch.setattr(persistence.writer, "_framed", halted)
    persistence.rewrite()
    assert await asyncio.to_thread(middle.wait, 20)
    assert await index.forget(tenant="acme") == 300
    on.set()
    await put(index, "after")
    index.close()
    assert ["after"] == questions(opened(folder))


async def test_a_store_that_is_away_at_the_start_is_read_when_it_is_back(flaky: type[Flaky]) -> None:
    index = opened("flaky://bucket/cache")
    await put(index, "old", "renewed")
    await put(index, "erased", partition="globex/m/v/h")
    index.close()
    flaky.trouble = ConnectionError("away")
    index = opened("flaky://bucket/cache")
    assert [] == questions(index)
    await index.store(P, unit(5), "renewed", {"answer": "newer"}, 60)
    assert await index.forget(tenant="globex") == 0
    assert (await index.stock()).saving is False
    flaky.trouble = None
    index._persistence._again = 0.0  # type: ignore[union-attr]
    async with asyncio.timeout(20):
        while not (await index.stock()).saving:
            await asyncio.sleep(0.05)
    for _ in range(2):
        assert {"old", "renewed"} == set(questions(index))
        hit = await index.exact(P, "renewed")
        assert hit is not None
        assert {"answer": "newer"} == hit.entry
        index.close()
        index = opened("flaky://bucket/cache")


async def test_no_call_waits_for_a_slow_store(flaky: type[Flaky]) -> None:
    index = opened("flaky://bucket/cache")
    flaky.free.clear()
    for number in range(50):
        await put(index, f"q{number}")
        await index.exact(P, f"q{number}")
        await index.lookup(P, unit(number), 0.5)
        await index.learn(P, f"q{number}", 0.5, right=True)
    index._persistence.rewrite()  # type: ignore[union-attr]
    await put(index, "last")
    await until(lambda: flaky.held)  # the store still has its first write before it
    flaky.free.set()
    index.close()
    assert 51 == len(questions(opened("flaky://bucket/cache")))


async def test_too_much_to_write_becomes_a_snapshot(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cache.faiss.persistence.QUEUE", 500)
    index = opened(folder)
    for number in range(100):
        await put(index, f"q{number}")
    index.close()
    assert files(folder, "snapshot")
    assert 100 == len(questions(opened(folder)))


# -- housekeeping ----------------------------------------------------------------------------------


async def test_a_long_log_is_replaced_by_a_snapshot(folder: Path) -> None:
    index = opened(folder)
    assert index._persistence
    index._persistence.writer.compact = 20_000
    for turn in range(400):
        await put(index, f"q{turn % 7}")
        if turn % 20 == 0:
            await saved(index)
    await saved(index)
    assert len(files(folder)) <= 2
    assert len(written(folder)) < 60_000
    index.close()
    assert 7 == len(questions(opened(folder)))


async def test_a_second_index_on_the_same_folder_lives_in_memory_until_it_is_free(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(folder)
    await put(first, "one")
    second = opened(folder)
    await put(second, "two")
    assert "another process keeps its cache" in caplog.text
    assert (await second.stock()).saving is False
    first.close()
    second._persistence._again = 0.0  # type: ignore[union-attr]
    async with asyncio.timeout(20):
        while not (await second.stock()).saving:
            await asyncio.sleep(0.05)
    assert {"one", "two"} == set(questions(second))
    second.close()
    assert {"one", "two"} == set(questions(opened(folder)))


async def test_state_names_a_folder_in_the_state_folder(tmp_path: Path) -> None:
    index = opened("state")
    await put(index, "one")
    index.close()
    assert files(tmp_path / "state" / "cache", "log")


async def test_without_a_store_nothing_is_said_of_saving() -> None:
    assert (await FaissIndex(DIM).stock()).saving is None
