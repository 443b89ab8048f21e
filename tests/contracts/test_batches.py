"""Batches on both databases: exactly once whatever dies, fair between tenants, and cheap to turn away."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from app.api.app import ApiDependencies, create_app
from app.batches.blobs import Blobs
from app.batches.files import Files, new_id
from app.batches.model import Batch, Entry, File, InputLine, Job, LineAnswer, Order, Owner, Problem, State
from app.batches.queue import Work
from app.batches.runner import LineRunner
from app.batches.scheduling import WINDOW
from app.batches.store import Batches, New
from app.batches.worker import Worker
from app.billing.ledger.ledger import SqlLedger
from app.config import STAGES
from app.core.refusals import LedgerError
from app.core.terms import Terms
from app.db.schema import batch_lines, reservations, usage
from app.db.store import Store
from app.tenancy.admin import AdminService
from app.tenancy.authenticator import Authenticator
from app.testing.fakes import FakeEngine
from tests.batch_kit import CHAT, lines, task
from tests.contracts.ledger_kit import SECRETS, Clock
from tests.kit import Kit, until

OK = LineAnswer(200, "req_1", b'{"id":"x"}')


@dataclass
class World:
    """Batches, and as many workers as are asked for. owners: whose files they are, by tenant."""

    store: Store
    blobs: Blobs
    clock: Clock = field(default_factory=Clock)
    owners: dict[str, Owner] = field(default_factory=dict)

    def work(self, name: str = "worker_1") -> Work:
        return Work(self.store, SECRETS, name, self.clock, lease=10.0)

    @property
    def batches(self) -> Batches:
        return Batches(self.store, self.clock)

    def owner(self, tenant: str = "acme") -> Owner:
        return self.owners.get(tenant) or Owner(tenant, "", f"key_{tenant}")

    async def created(self, count: int, tenant: str = "acme") -> Batch:
        """A batch over a file of so many good lines."""
        self.clock.now += 1
        id_ = new_id()
        async with self.blobs.write(f"{tenant}/{id_}") as sink:
            await sink.put(lines(*(task(f"t{n}", f"{id_} question {n}") for n in range(1, count + 1))))
        file = File(id_, "in.jsonl", "batch", sink.size, f"{tenant}/{id_}", self.clock.now)
        await Files(self.store, self.clock).add(self.owner(tenant), file)
        return await self.batches.create(self.owner(tenant), New(CHAT, file, {}))

    async def begun(self, count: int, tenant: str = "acme", work: Work | None = None) -> Batch:
        """The same, validated."""
        batch = await self.created(count, tenant)
        work = work or self.work()
        job = await self.job(work, batch.id)
        assert await work.add(job, [Entry(n, f"t{n}", 0, 1) for n in range(1, count + 1)])
        assert await work.begin(job, count)
        return batch

    async def job(self, work: Work, id_: str) -> Job:
        await work.advance()
        job = await work.job()
        assert job is not None
        assert id_ == job.id
        return job

    async def now(self, batch: Batch, tenant: str = "acme") -> Batch:
        found = await self.batches.get(self.owner(tenant), batch.id)
        assert found is not None
        return found


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    store = Store(database_url)
    yield World(store, Blobs(str(tmp_path / "blobs")))
    await store.close()


def numbers(taken: list[InputLine]) -> list[int]:
    return [line.number for line in taken]


# -- handing out ---------------------------------------------------------------------------------


async def test_a_line_is_handed_to_one_worker_alone_however_many_ask_at_once(world: World) -> None:
    await world.begun(60)
    works = [world.work(f"worker_{n}") for n in range(6)]
    taken = await asyncio.gather(*(work.claim(7) for work in works for _ in range(2)))
    seen = Counter(number for lines_ in taken for number in numbers(lines_))
    assert set(range(1, 61)) == set(seen)
    assert {1} == set(seen.values())


async def test_a_dead_workers_lines_are_anothers_once_its_lease_ends_and_not_before(world: World) -> None:
    batch = await world.begun(3)
    dead, other = world.work("dead"), world.work("other")
    assert [1, 2, 3] == numbers(await dead.claim(9))
    world.clock.now += 9.9
    await other.advance()
    assert [] == await other.claim(9)
    world.clock.now += 0.1
    await other.advance()
    assert [1, 2, 3] == numbers(await other.claim(9))
    assert "in_progress" == (await world.now(batch)).status


async def test_a_worker_that_lives_keeps_its_lines(world: World) -> None:
    await world.begun(3)
    work = world.work()
    await work.claim(9)
    for _ in range(5):
        world.clock.now += 6
        await work.beat()
        await work.advance()
    assert [] == await world.work("other").claim(9)


async def test_the_first_result_of_a_line_stands_and_a_late_one_changes_nothing(world: World) -> None:
    batch = await world.begun(1)
    slow, fast = world.work("slow"), world.work("fast")
    [line] = await slow.claim(1)
    world.clock.now += 10
    await fast.advance()
    [again] = await fast.claim(1)
    assert (line.number, line.attempt) == (again.number, again.attempt)
    await fast.done(again, replace(OK, body=b'{"by":"fast"}'))
    await slow.done(line, replace(OK, body=b'{"by":"slow"}'))
    await slow.again(line)
    job = await world.job(fast, batch.id)
    assert [b'{"by":"fast"}'] == [one.body for one in await fast.results(job, ("answered",), 0)]


async def test_tenants_share_evenly_and_of_each_the_oldest_batch_goes_first(world: World) -> None:
    big = await world.begun(50, "acme")
    later = await world.begun(50, "acme")
    small = await world.begun(50, "globex")
    work = world.work()
    taken = await work.claim(20)
    assert {big.id: 10, small.id: 10} == Counter(line.batch for line in taken)
    assert later.id not in {line.batch for line in taken}
    for line in taken:
        if line.batch == small.id:
            await work.done(line, OK)
    again = await work.claim(10)
    assert {small.id: 10} == Counter(line.batch for line in again)


async def test_with_a_single_place_tenants_take_turns(world: World) -> None:
    for tenant in ("acme", "globex", "initech"):
        await world.begun(10, tenant)
    work, served = world.work(), []
    for _ in range(9):
        world.clock.now += 1
        [line] = await work.claim(1)
        served.append(line.key_id)
        await work.done(line, OK)
    assert {"key_acme": 3, "key_globex": 3, "key_initech": 3} == Counter(served)
    assert served[:3] == served[3:6] == served[6:]


async def test_a_batch_that_was_turned_away_rests_and_others_go_on(world: World) -> None:
    tired = await world.begun(5, "acme")
    await world.begun(5, "globex")
    work = world.work()
    first = next(line for line in await work.claim(2) if line.batch == tired.id)
    await work.again(first, 30)
    assert {"key_globex"} == {line.key_id for line in await work.claim(9)}
    world.clock.now += 30
    assert first.number in numbers([line for line in await work.claim(9) if line.batch == tired.id])


async def test_no_more_lines_of_a_batch_are_handed_out_than_its_width(world: World) -> None:
    batch = await world.begun(20)
    assert 3 == len(await world.work().claim(10, {batch.id: 3}))
    assert [] == await world.work().claim(10, {batch.id: 0})


# -- from status to status -----------------------------------------------------------------------


async def test_reading_the_input_begins_anew_where_a_worker_died_over_it(world: World) -> None:
    batch = await world.created(5)
    dead, other = world.work("dead"), world.work("other")
    job = await world.job(dead, batch.id)
    assert await dead.add(job, [Entry(1, "t1", 0, 1), Entry(2, "t2", 0, 1)])
    assert await other.job() is None
    world.clock.now += 10
    again = await world.job(other, batch.id)
    assert not await dead.add(job, [Entry(3, "t3", 0, 1)])
    assert not await dead.begin(job, 3)
    assert await other.add(again, [Entry(n, f"t{n}", 0, 1) for n in range(1, 6)])
    assert await other.begin(again, 5)
    assert [1, 2, 3, 4, 5] == numbers(await other.claim(9))
    found = await world.now(batch)
    assert ("in_progress", 5) == (found.status, found.total)


async def test_a_batch_ends_once_even_when_two_workers_write_its_output(world: World) -> None:
    batch = await world.begun(2)
    slow, fast = world.work("slow"), world.work("fast")
    for line in await slow.claim(9):
        await slow.done(line, OK)
    job = await world.job(slow, batch.id)
    assert ("finalizing", "completed") == ((await world.now(batch)).status, job.ending)
    world.clock.now += 10
    again = await world.job(fast, batch.id)
    file = File(new_id(), "out", "batch_output", 1, "acme/out", world.clock.now)
    assert await fast.end(again, file, None)
    assert not await slow.end(job, replace(file, id=new_id()), None)
    found = await world.now(batch)
    assert ("completed", file.id, 2, 0) == (found.status, found.output_file, found.completed, found.failed)
    assert not await fast.advance()
    rows = await world.store.read(lambda connection: connection.execute(select(batch_lines)).all())
    assert [] == rows


async def test_a_cancelled_batch_waits_for_lines_on_their_way_and_begins_no_other(world: World) -> None:
    batch = await world.begun(5)
    work = world.work()
    taken = await work.claim(2)
    cancelled = await world.batches.cancel(world.owner(), batch.id)
    assert cancelled is not None
    assert "cancelling" == cancelled.status
    assert [] == await work.claim(9)
    await work.advance()
    assert await work.job() is None
    for line in taken:
        await work.done(line, OK)
    job = await world.job(work, batch.id)
    assert "cancelled" == job.ending
    assert 3 == len(await work.results(job, ("waiting",), 0))


async def test_a_batch_that_is_cancelled_while_it_is_read_has_no_lines(world: World) -> None:
    batch = await world.created(5)
    work = world.work()
    job = await world.job(work, batch.id)
    assert await work.add(job, [Entry(1, "t1", 0, 1)])
    await world.batches.cancel(world.owner(), batch.id)
    assert not await work.add(job, [Entry(2, "t2", 0, 1)])
    ending = await world.job(work, batch.id)
    assert [] == await work.results(ending, ("waiting",), 0)
    assert await work.end(ending, None, None)
    assert "cancelled" == (await world.now(batch)).status


async def test_a_batch_expires_with_the_lines_that_wait_and_completes_without(world: World) -> None:
    late, done = await world.begun(2), await world.begun(1)
    work = world.work()
    for line in await work.claim(3):
        if (line.batch, line.number) != (late.id, 2):
            await work.done(line, OK)
    world.clock.now += WINDOW + 10
    await work.advance()
    endings = {job.id: job.ending for _ in range(2) if (job := await work.job())}
    assert {late.id: "expired", done.id: "completed"} == endings


async def test_a_bad_input_fails_the_batch_with_what_is_wrong(world: World) -> None:
    batch = await world.created(1)
    work = world.work()
    assert await work.fail(await world.job(work, batch.id), [Problem("empty_file", "It is empty.")])
    found = await world.now(batch)
    assert "failed" == found.status
    assert [{"code": "empty_file", "message": "It is empty.", "param": None, "line": None}] == list(found.errors)
    assert not await work.advance()


async def test_what_a_line_answered_is_unreadable_in_the_database(world: World) -> None:
    await world.begun(1)
    work = world.work()
    [line] = await work.claim(1)
    await work.done(line, replace(OK, body=b'{"said":"something private"}'))
    [row] = await world.store.read(lambda connection: connection.execute(select(batch_lines)).all())
    assert b"private" not in row.response


async def test_counts_are_live(world: World) -> None:
    batch = await world.begun(4)
    work = world.work()
    first, second, _ = await work.claim(3)
    await work.done(first, OK)
    await work.done(second, replace(OK, status=400))
    found = await world.now(batch)
    assert (4, 1, 1) == (found.total, found.completed, found.failed)


# -- billed once ---------------------------------------------------------------------------------


@dataclass
class Shop(World):
    """The same with a real ledger, real keys and a whole gateway over fake models."""

    kit: Kit = field(default_factory=Kit)
    between: Callable[[Order, LineAnswer | None], LineAnswer | None] = lambda _, answer: answer

    async def open(self, terms: Terms | None = None, **policy: Any) -> None:
        ledger = SqlLedger(self.store, SECRETS)
        authenticator = Authenticator(self.store)
        admin_service = AdminService(self.store, SECRETS, changed=authenticator.forget)
        await admin_service.create_tenant("acme", actor="test")
        made, _ = await admin_service.create_key("acme", {"terms": terms or Terms()}, actor="test")  # type: ignore[arg-type]
        self.owners["acme"] = Owner("acme", "", made.id)
        self.kit.ledger = ledger  # type: ignore[assignment]
        self.kit.authenticator = authenticator  # type: ignore[assignment]
        self.admin_service = admin_service
        gateway = self.kit.gateway(**policy)
        app = create_app(gateway, ApiDependencies(self.kit.metrics.export))
        self.lines = LineRunner(gateway, app, self.batches.whose)

    async def state(self) -> State:
        return await self.lines.state()

    async def answer(self, order: Order) -> LineAnswer | None:
        return self.between(order, await self.lines.answer(order))

    async def run(self, batch: Batch, name: str = "worker_1", seconds: float = 30) -> Batch:
        """One worker until the batch has ended."""
        worker = asyncio.ensure_future(Worker(self.work(name), self.blobs, self, self.clock).run())
        try:
            async with asyncio.timeout(seconds):
                while (found := await self.now(batch)).status not in ("completed", "expired", "cancelled"):
                    assert not worker.done()
                    await asyncio.sleep(0.05)
                    self.clock.now += 0.5
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        return found

    async def rows(self) -> list[Any]:
        return list(await self.store.read(lambda connection: connection.execute(select(usage)).all()))

    async def output(self, batch: Batch) -> list[dict[str, Any]]:
        file = await Files(self.store, self.clock).get(self.owner(), batch.output_file or "")
        assert file is not None
        data = b"".join([piece async for piece in self.blobs.stream(file.blob)])
        assert file.bytes == len(data)
        return [orjson.loads(line) for line in data.splitlines()]

    async def exact(self, batch: Batch, count: int) -> None:
        """Every line stands once in the output, is billed once at half price, and the account says their sum."""
        out = await self.output(batch)
        assert [f"t{n}" for n in range(1, count + 1)] == [one["custom_id"] for one in out]
        rows = await self.rows()
        billed = [row for row in rows if row.cost]
        assert count == len(billed)
        assert all(row.batch for row in rows)
        for row in billed:
            full = row.prompt_tokens * 1 + row.completion_tokens * 2  # PRICE of tests.kit, a million tokens
            assert full * 1000 == 2 * row.cost
        account = await self.admin_service.balance("tenant:acme")
        assert sum(row.cost for row in rows) == account.spent * 10**9
        assert Decimal(0) == account.reserved
        assert [] == await self.store.read(lambda connection: connection.execute(select(reservations)).all())


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    store = Store(database_url)
    yield Shop(store, Blobs(str(tmp_path / "blobs")))
    await store.close()


async def test_a_batch_is_answered_and_billed_line_by_line(shop: Shop) -> None:
    await shop.open()
    done = await shop.run(await shop.created(30))
    assert ("completed", 30, 0) == (done.status, done.completed, done.failed)
    await shop.exact(done, 30)


async def test_a_line_that_was_billed_and_whose_answer_was_lost_is_answered_and_not_billed_again(shop: Shop) -> None:
    await shop.open(stages=[stage for stage in STAGES if stage not in ("recall", "remember")])
    lost: set[str] = set()

    def lose(order: Order, answer: LineAnswer | None) -> LineAnswer | None:
        if order.serial not in lost:
            lost.add(order.serial)
            raise ConnectionError
        return answer

    shop.between = lose
    done = await shop.run(await shop.created(8))
    assert len(lost) == 8
    assert 16 == len(shop.kit.engines["a"].requests)
    await shop.exact(done, 8)


async def test_a_worker_that_is_killed_over_and_over_costs_no_line_and_bills_none_twice(shop: Shop) -> None:
    await shop.open()
    shop.kit.engines["a"] = FakeEngine(tokens_per_second=10)
    batch = await shop.created(100)
    for life in range(3):
        worker = asyncio.ensure_future(Worker(shop.work(f"life_{life}"), shop.blobs, shop, shop.clock).run())
        done = (await shop.now(batch)).completed
        async with asyncio.timeout(30):
            while (await shop.now(batch)).completed < done + 3:
                await asyncio.sleep(0.02)
        worker.cancel()  # what it was about to write is lost
        await asyncio.gather(worker, return_exceptions=True)
        assert (await shop.now(batch)).status == "in_progress"
        shop.clock.now += 10
    await shop.exact(await shop.run(batch, "last"), 100)


async def test_a_line_over_a_rate_limit_waits_is_billed_once_and_is_not_tried_in_vain_by_the_hundred(
    shop: Shop,
) -> None:
    await shop.open(Terms(concurrent_requests=1))
    shop.kit.engines["a"] = FakeEngine(tokens_per_second=200)
    done = await shop.run(await shop.created(12), seconds=60)
    await shop.exact(done, 12)
    refused = [row for row in await shop.rows() if row.outcome == "refused"]
    assert 0 < len(refused) < 40


async def test_an_engine_that_is_lost_for_a_while_turns_no_line_into_a_failure(shop: Shop) -> None:
    await shop.open()
    engine = shop.kit.engines["a"]
    engine.fail = "before_first"

    def mended(_: Order, answer: LineAnswer | None) -> LineAnswer | None:
        engine.fail = None
        return answer

    shop.between = mended
    done = await shop.run(await shop.created(5))
    assert (5, 0) == (done.completed, done.failed)
    await shop.exact(done, 5)


async def test_a_database_that_is_away_for_a_while_loses_no_result(shop: Shop) -> None:
    await shop.open()
    batch = await shop.created(10)
    real, dice = shop.store.write, random.Random(4)

    async def unsteady(work: Any) -> Any:
        if dice.random() < 0.1:
            raise LedgerError("The database does not answer.")
        return await real(work)

    shop.store.write = unsteady  # type: ignore[method-assign]
    done = await shop.run(batch, seconds=60)
    shop.store.write = real  # type: ignore[method-assign]
    out = await shop.output(done)
    assert [f"t{n}" for n in range(1, 11)] == [one["custom_id"] for one in out]


async def test_a_disabled_key_may_not_run_its_lines(shop: Shop) -> None:
    await shop.open()
    batch = await shop.created(2)
    await shop.admin_service.disable_key(shop.owner().key_id, actor="test")
    done = await shop.run(batch)
    assert (0, 2, None) == (done.completed, done.failed, done.output_file)
    assert [] == await shop.rows()


async def test_two_who_ask_for_the_same_line_at_once_share_one_run(shop: Shop) -> None:
    await shop.open()
    shop.kit.engines["a"] = FakeEngine(tokens_per_second=20)
    order = Order("0" * 24, shop.owner().key_id, CHAT, orjson.dumps(task("a")["body"]))
    first, second = await asyncio.gather(shop.lines.answer(order), shop.lines.answer(order))
    assert first == second
    assert 1 == len(shop.kit.engines["a"].requests)


async def test_a_line_whose_worker_dies_is_finished_and_billed_whole(shop: Shop) -> None:
    await shop.open()
    shop.kit.engines["a"] = FakeEngine(tokens_per_second=20)
    order = Order("0" * 24, shop.owner().key_id, CHAT, orjson.dumps(task("a")["body"]))
    asking = asyncio.ensure_future(shop.lines.answer(order))
    await until(lambda: shop.kit.engines["a"].running)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    async with asyncio.timeout(5):
        while not (rows := await shop.rows()):
            await asyncio.sleep(0.05)
    assert [("ok", f"chatcmpl-{'0' * 24}")] == [(row.outcome, row.id) for row in rows]
