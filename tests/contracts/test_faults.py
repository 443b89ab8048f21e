"""Real faults, real databases: whatever is locked, stopped, full or killed, each call is billed, and billed once."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, event

from app.billing.ledger.outbox import SettlementOutbox
from app.billing.ledger.outbox_files import decode
from app.billing.pricing import Price, cost
from app.core.ports import Principal, UsageRow
from app.core.refusals import LedgerError
from app.db.schema import reservations, to_nano, usage
from tests.contracts.ledger_kit import SqlWorld, row, sql_world
from tests.kit import PRICE, free_port, until
from tests.postgres import Server, own_server

ROOT = Path(__file__).parents[2]
SECONDS = 30.0  # for what takes less than one, on a machine with nothing else to do


@asynccontextmanager
async def journal_of(world: SqlWorld, folder: Path) -> AsyncIterator[SettlementOutbox]:
    outbox = SettlementOutbox(world.ledger, folder, every=0.05)
    task = asyncio.create_task(outbox.run())
    yield outbox
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await outbox.aclose()


async def reserve(world: SqlWorld, who: Principal, count: int) -> list[str]:
    ids = [f"call-{number:03}" for number in range(count)]
    await asyncio.gather(*(world.reserved(who, id_) for id_ in ids))
    return ids


async def assert_billed_once(world: SqlWorld, who: Principal, ids: list[str]) -> None:
    assert sorted(ids) == sorted(used.id for used in await world.rows(usage))
    assert await world.rows(reservations) == []
    await world.balanced(who)
    assert len([record for record in await world.records() if record.kind == "call"]) == len(ids)


# -- a database that is locked, stopped or full ------------------------------------------------------


@contextmanager
def locked(url: str) -> Iterator[sqlite3.Connection]:
    """Hold SQLite's write lock, as another process's backup does."""
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


async def test_rows_of_calls_that_end_while_the_database_is_locked_arrive_once(sqlite_url: str, tmp_path: Path) -> None:
    async with sql_world(sqlite_url, patience=0.1) as world, journal_of(world, tmp_path / "journal") as outbox:
        who = await world.caller()
        ids = await reserve(world, who, 5)
        with locked(sqlite_url):
            await asyncio.gather(*(outbox.close(row(id_, who, "0.25")) for id_ in ids))
            assert outbox.waiting == 5
            await asyncio.sleep(0.5)  # longer than the ledger's patience: what is kept is tried in vain
            assert outbox.waiting == 5
        await until(lambda: not outbox.waiting, SECONDS)
        await assert_billed_once(world, who, ids)
        assert (await world.balances(who))[0].spent == Decimal("1.25")


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Server]:
    with own_server(durable=True) as server:
        yield server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_postgres_that_stops_while_calls_are_settled_loses_none_and_bills_none_twice(
    own_postgres: Server, tmp_path: Path, mode: str
) -> None:
    async with sql_world(own_postgres.url, patience=1) as world, journal_of(world, tmp_path) as outbox:
        who = await world.caller(name=mode)
        ids = [f"{mode}-{number:03}" for number in range(200)]
        await asyncio.gather(*(world.reserved(who, id_) for id_ in ids))

        async def settle(id_: str, within: float) -> None:
            await asyncio.sleep(random.random() * within)
            await outbox.close(row(id_, who, "0.000000001"))

        await asyncio.gather(*(settle(id_, 0) for id_ in ids[:50]))
        meanwhile = asyncio.gather(*(settle(id_, 1) for id_ in ids[50:150]))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(own_postgres.stop, mode)
        await asyncio.gather(meanwhile, *(settle(id_, 0) for id_ in ids[150:]))
        assert 50 <= outbox.waiting <= 150
        await asyncio.to_thread(own_postgres.start)
        await until(lambda: not outbox.waiting, SECONDS)
        mine = [used.id for used in await world.rows(usage, usage.c.tenant == mode)]
        assert ids == sorted(mine)
        assert await world.rows(reservations) == []
        await world.balanced(who)
        calls = [record for record in await world.records(mode) if record.kind == "call"]
        assert len(calls) == 200


async def test_a_row_that_found_the_databases_disk_full_is_settled_when_there_is_stage(
    sqlite_url: str, tmp_path: Path
) -> None:
    pages = 1
    async with sql_world(sqlite_url) as world, journal_of(world, tmp_path / "journal") as outbox:
        who = await world.caller()
        (id_,) = await reserve(world, who, 1)
        engine, _ = world.ledger.store._database._lanes["IMMEDIATE"]  # type: ignore[attr-defined]

        def limit(connection: Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        event.listen(engine, "begin", limit)
        big = row(id_, who, "0.5", trail={"facts": "x" * 100_000})
        path = sqlite_url.removeprefix("sqlite:///")
        with pytest.raises(LedgerError, match=rf"disk that holds the ledger's database {path} is full\. Free space"):
            await world.ledger.settle(big)
        await outbox.close(big)
        assert outbox.waiting == 1
        pages = 2**31 - 2
        await until(lambda: not outbox.waiting, SECONDS)
        await assert_billed_once(world, who, [id_])


# -- a gateway that is killed ------------------------------------------------------------------------


@asynccontextmanager
async def doomed(url: str, folder: Path, words: int, kind: str = "lasting") -> AsyncIterator[tuple[Any, str]]:
    """A gateway in a process of its own, and its URL; killed in the end, if it still lives."""
    port = str(free_port())
    command = [sys.executable, "-m", "tests.contracts.doomed", url, str(folder), port, str(words), kind]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    base = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(SECONDS), httpx.AsyncClient() as client:
            while process.returncode is None:
                with suppress(httpx.TransportError):
                    if (await client.get(f"{base}/healthz")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
        yield process, base
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def listen(base: str, key: str, pieces: list[str]) -> None:
    """Ask for a streamed answer and add what comes to `pieces`, until it ends or the gateway dies."""
    body = {"model": "small", "messages": [{"role": "user", "content": "hello there"}], "stream": True}
    headers = {"authorization": f"Bearer {key}"}
    with suppress(httpx.TransportError):
        async with (
            httpx.AsyncClient(timeout=SECONDS) as client,
            client.stream("POST", f"{base}/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            assert answer.status_code == 200
            async for piece in answer.aiter_text():
                pieces.append(piece)  # noqa: PERF401 - as they come: the test looks while they do


def written(folder: Path, kind: str) -> list[UsageRow]:
    """The rows in every file of this kind; one that goes while they are read has none."""
    lines: list[bytes] = []
    for file in folder.glob(f"*.{kind}"):
        with suppress(FileNotFoundError):
            lines += file.read_bytes().splitlines()
    return [one for line in lines if (one := decode(line))]


@asynccontextmanager
async def prepared(url: str) -> AsyncIterator[tuple[SqlWorld, Principal]]:
    async with sql_world(url, time.time) as world:  # type: ignore[arg-type]  # the gateways' clock is the real one
        yield world, await world.caller()


async def recover(url: str, folder: Path) -> None:
    """Two new gateways at once, on ledgers of their own, until the dead one's files are gone."""
    async with (
        sql_world(url) as one,
        sql_world(url) as other,
        journal_of(one, folder) as first,
        journal_of(other, folder) as second,
    ):
        await until(lambda: None not in {first._looked, second._looked}, SECONDS)
        await until(lambda: not (written(folder, "*") or first.waiting or second.waiting), SECONDS)
    assert list(folder.iterdir()) == []  # noqa: ASYNC240


async def test_a_call_whose_gateway_is_killed_in_mid_stream_is_billed_as_of_its_last_snapshot(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    async with prepared(database_url) as (world, who):
        async with doomed(database_url, folder, words=10_000) as (process, base):
            pieces: list[str] = []
            listening = asyncio.create_task(listen(base, world.keys[-1], pieces))
            await until(lambda: any(one.completion_tokens > 5 for one in written(folder, "calls")), SECONDS)
            process.send_signal(signal.SIGKILL)
            await asyncio.gather(listening, process.wait())
        (last,) = written(folder, "calls")
        (held,) = await world.rows(reservations)
        assert last.id == held.id
        await recover(database_url, folder)
        (used,) = await world.rows(usage)
        assert (last.id, "lost") == (used.id, used.outcome)
        assert (2, last.completion_tokens) == (used.prompt_tokens, used.completion_tokens)
        assert 5 < used.completion_tokens <= "".join(pieces).count("word") + 100
        price = Price(*map(Decimal, (PRICE["input"], PRICE["cached_input"], PRICE["output"])))
        assert to_nano(cost(price, 2, 0, used.completion_tokens)) == used.cost
        await assert_billed_once(world, who, [last.id])


async def test_a_gateway_killed_between_the_commit_and_the_forgetting_bills_the_call_once(
    database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    async with prepared(database_url) as (world, who):
        async with doomed(database_url, folder, 20, kind="dying") as (process, base):
            await listen(base, world.keys[-1], [])
            assert await process.wait() == -signal.SIGKILL
        (left,) = written(folder, "calls")
        (before,) = await world.rows(usage)
        assert (left.id, "ok", 20) == (before.id, before.outcome, before.completion_tokens)
        await recover(database_url, folder)
        (after,) = await world.rows(usage)
        assert before == after
        await assert_billed_once(world, who, [before.id])


async def test_a_row_kept_by_a_gateway_that_is_killed_later_is_billed_as_the_call_ended(
    sqlite_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    async with prepared(sqlite_url) as (world, who):
        async with doomed(sqlite_url, folder, words=20) as (process, base):
            pieces: list[str] = []
            listening = asyncio.create_task(listen(base, world.keys[-1], pieces))
            await until(lambda: pieces, SECONDS)
            with locked(sqlite_url):
                await asyncio.wait_for(listening, SECONDS)
                await until(lambda: written(folder, "rows"), SECONDS)
                process.send_signal(signal.SIGKILL)
                await process.wait()
        assert "[DONE]" in pieces[-1]
        assert await world.rows(usage) == []
        await recover(sqlite_url, folder)
        (used,) = await world.rows(usage)
        assert ("ok", 20) == (used.outcome, used.completion_tokens)
        await assert_billed_once(world, who, [used.id])
