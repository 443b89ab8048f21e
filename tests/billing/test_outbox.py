"""The journal: every usage row reaches the ledger in the end, whatever refuses or dies on the way."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import resource
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing.ledger.outbox import Direct, SettlementOutbox
from app.billing.ledger.outbox_files import Files, decode, encode
from app.core.ports import PortError, Principal, UsageRow
from app.testing.fakes import FakeLedger
from tests.kit import until

WHO = Principal("acme", "key_1")
ROW = UsageRow(
    id="a", created=1_700_000_000.5, tenant="acme", key_id="key_1", model="auto", tier="small", pool="a", region=None,
    outcome="ok", refused_by=None, prompt_tokens=7, cached_tokens=0, completion_tokens=3, cost=Decimal("0.000000013"),
    price_list="standard@1", ttft=None, latency=0.25, trail={"guard": {"score": 0.1}},
)  # fmt: skip


def row(id_: str, outcome: str = "ok") -> UsageRow:
    return replace(ROW, id=id_, outcome=outcome)


class MoodyLedger(FakeLedger):
    """Refuses to settle while it is `down`, and the ids of `never` always. Waits for `gate` before it settles."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.never: set[str] = set()
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def settle(self, row: UsageRow) -> None:
        self.asked += 1
        await self.gate.wait()
        if self.down or row.id in self.never:
            raise PortError("ledger", "the database does not answer")
        await super().settle(row)

    @property
    def outcomes(self) -> dict[str, str]:
        return {row.id: row.outcome for row in self.rows}


@pytest.fixture
async def ledger() -> MoodyLedger:
    return MoodyLedger()


@asynccontextmanager
async def running(
    ledger: FakeLedger, folder: Path, clock: Callable[[], float] = time.time, *, every: float = 0.01
) -> AsyncIterator[SettlementOutbox]:
    """A journal at work, which dies at the end as a killed process does: without a word, and its lock with it."""
    outbox = SettlementOutbox(ledger, folder, clock, every=every)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        die(outbox._files)


def die(files: Files) -> None:
    if files._fd is not None:
        os.close(files._fd)
        files._fd = None


def written(folder: Path, kind: str = "*") -> list[UsageRow]:
    """The rows in every file of this kind; one that goes while they are read has none."""
    lines: list[bytes] = []
    for file in sorted(folder.glob(f"*.{kind}")):
        with suppress(FileNotFoundError, IsADirectoryError):
            lines += file.read_bytes().splitlines()
    return [one for line in lines if (one := decode(line))]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


# -- calls that end well ---------------------------------------------------------------------------


async def test_a_call_that_is_settled_leaves_nothing_behind(ledger: MoodyLedger, tmp_path: Path) -> None:
    async with running(ledger, tmp_path) as outbox:
        outbox.open("a", lambda: row("a", "lost"))
        await until(lambda: written(tmp_path, "calls"))
        await outbox.close(row("a"))
        assert {"a": "ok"} == ledger.outcomes
        await until(lambda: not written(tmp_path))
    outbox = SettlementOutbox(ledger, tmp_path)
    await outbox._adopt()
    await outbox.aclose()
    assert names(tmp_path) == []


async def test_a_gateway_without_calls_touches_no_disk(ledger: MoodyLedger, tmp_path: Path) -> None:
    async with running(ledger, tmp_path / "journal"):
        await asyncio.sleep(0.1)
    assert names(tmp_path) == []


async def test_what_is_written_is_readable_to_its_owner_alone(ledger: MoodyLedger, tmp_path: Path) -> None:
    ledger.down = True
    async with running(ledger, tmp_path / "journal") as outbox:
        await outbox.close(row("a"))
        outbox.open("b", lambda: row("b", "lost"))
        await until(lambda: written(tmp_path / "journal", "calls"))
        modes = {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "journal").iterdir()}
        assert {0o600} == modes
        assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


# -- a ledger that refuses -------------------------------------------------------------------------


async def test_a_row_that_the_ledger_refuses_is_settled_when_it_takes_rows_again(
    ledger: MoodyLedger, tmp_path: Path
) -> None:
    ledger.down = True
    async with running(ledger, tmp_path) as outbox:
        for name in "abc":
            await outbox.close(row(name))
        assert outbox.waiting == 3
        assert [row(name) for name in "abc"] == written(tmp_path, "rows")
        ledger.down = False
        await until(lambda: not outbox.waiting)
    assert ["a", "b", "c"] == [row.id for row in ledger.rows]
    assert written(tmp_path) == []


async def test_a_ledger_that_stays_away_is_asked_ever_more_seldom(ledger: MoodyLedger, tmp_path: Path) -> None:
    ledger.down = True
    async with running(ledger, tmp_path) as outbox:
        await outbox.close(row("a"))
        await asyncio.sleep(0.7)
    assert 3 <= ledger.asked <= 10


async def test_more_rows_than_fit_a_batch_are_all_settled_in_their_order(ledger: MoodyLedger, tmp_path: Path) -> None:
    ledger.down = True
    ids = [f"call-{n:04}" for n in range(600)]
    async with running(ledger, tmp_path) as outbox:
        await asyncio.gather(*(outbox.close(row(id_)) for id_ in ids))
        ledger.down = False
        await until(lambda: not outbox.waiting)
    assert ids == [row.id for row in ledger.rows]


async def test_a_row_that_the_ledger_never_takes_holds_no_other_up_and_stays(
    ledger: MoodyLedger, tmp_path: Path
) -> None:
    ledger.down, ledger.never = True, {"a"}
    async with running(ledger, tmp_path) as outbox:
        for name in "abc":
            await outbox.close(row(name))
        ledger.down = False
        await until(lambda: outbox.waiting == 1)
        assert {"b": "ok", "c": "ok"} == ledger.outcomes
        await outbox.close(row("d"))
    ledger.never.clear()
    async with running(ledger, tmp_path):
        await until(lambda: "a" in ledger.outcomes)
    assert ["a", "b", "c", "d"] == sorted(row.id for row in ledger.rows)


async def test_a_caller_who_leaves_while_his_call_is_settled_is_billed(ledger: MoodyLedger, tmp_path: Path) -> None:
    ledger.gate.clear()
    async with running(ledger, tmp_path) as outbox:
        closing = asyncio.create_task(outbox.close(row("a")))
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        ledger.gate.set()
        await until(lambda: ledger.rows)
    assert [row("a")] == ledger.rows


async def test_a_shutdown_settles_what_it_can_and_leaves_the_rest_to_the_next_process(
    ledger: MoodyLedger, tmp_path: Path
) -> None:
    ledger.down, ledger.never = True, {"b"}
    outbox = SettlementOutbox(ledger, tmp_path)
    for name in "ab":
        await outbox.close(row(name))
    outbox.open("c", lambda: row("c", "lost"))
    ledger.down = False
    await outbox.aclose()
    assert {"a": "ok"} == ledger.outcomes
    assert {"b", "c"} <= {row.id for row in written(tmp_path)}
    ledger.never.clear()
    after = SettlementOutbox(ledger, tmp_path)
    await after._adopt()
    await after.aclose()
    assert {"a": "ok", "b": "ok", "c": "lost"} == ledger.outcomes
    assert names(tmp_path) == []


# -- processes that die ----------------------------------------------------------------------------


async def test_a_call_whose_gateway_died_is_billed_as_lost_as_of_its_last_snapshot(
    ledger: MoodyLedger, tmp_path: Path
) -> None:
    tokens = 0
    async with running(ledger, tmp_path) as outbox:
        outbox.open("a", lambda: replace(row("a", "lost"), completion_tokens=tokens))
        tokens = 5
        await until(lambda: [5] == [one.completion_tokens for one in written(tmp_path, "calls")])
    async with running(ledger, tmp_path):
        await until(lambda: ledger.rows)
    assert [replace(row("a", "lost"), completion_tokens=5)] == ledger.rows
    assert written(tmp_path) == []


async def test_a_call_that_had_ended_when_its_gateway_died_is_billed_as_it_ended(
    ledger: MoodyLedger, tmp_path: Path
) -> None:
    ledger.gate.clear()
    async with running(ledger, tmp_path) as outbox:
        outbox.open("a", lambda: row("a", "lost"))
        await until(lambda: written(tmp_path, "calls"))
        closing = asyncio.create_task(outbox.close(row("a", "hangup")))
        await until(lambda: [row("a", "hangup")] == written(tmp_path, "calls"))
    heirs = MoodyLedger()
    async with running(heirs, tmp_path):
        await until(lambda: heirs.rows)
    assert {"a": "hangup"} == heirs.outcomes
    closing.cancel()


async def test_a_call_that_ends_while_a_snapshot_is_taken_is_billed_as_it_ended(
    ledger: MoodyLedger, tmp_path: Path
) -> None:
    ledger.gate.clear()
    outbox, closing = SettlementOutbox(ledger, tmp_path), []

    def ends_another() -> UsageRow:
        closing.append(asyncio.create_task(outbox.close(row("call-0"))))
        return row("call-49", "lost")

    for number in range(60):
        id_ = f"call-{number}"
        outbox.open(id_, ends_another if number == 49 else lambda id_=id_: row(id_, "lost"))  # type: ignore[misc]
    await outbox._snapshot()
    die(outbox._files)
    assert ["ok", "lost"] == [one.outcome for one in written(tmp_path, "calls") if one.id == "call-0"]
    heirs = MoodyLedger()
    async with running(heirs, tmp_path):
        await until(lambda: len(heirs.rows) == 60)
    assert heirs.outcomes["call-0"] == "ok"
    closing[0].cancel()


async def test_of_a_kept_row_and_an_old_snapshot_the_row_counts(ledger: MoodyLedger, tmp_path: Path) -> None:
    dead = Files(tmp_path)
    dead.snapshot([encode(row("a", "lost"))])
    dead.append([encode(row("a"))])
    die(dead)
    async with running(ledger, tmp_path):
        await until(lambda: ledger.rows)
    assert [row("a")] == ledger.rows


async def test_a_living_processs_rows_are_left_to_it(ledger: MoodyLedger, tmp_path: Path) -> None:
    alive = Files(tmp_path)
    alive.append([encode(row("a"))])
    async with running(ledger, tmp_path):
        await asyncio.sleep(0.1)
    assert ledger.rows == []
    assert [encode(row("a"))] == alive.head()


async def test_the_dead_are_looked_for_again_after_half_a_minute(ledger: MoodyLedger, tmp_path: Path) -> None:
    now = 1_700_000_000.0
    async with running(ledger, tmp_path, lambda: now) as outbox:
        await until(lambda: outbox._looked is not None)
        dead = Files(tmp_path)
        dead.append([encode(row("a"))])
        die(dead)
        now += 29
        await asyncio.sleep(0.1)
        assert ledger.rows == []
        now += 1
        await until(lambda: ledger.rows)


def test_of_many_that_take_over_at_once_each_row_goes_to_one(tmp_path: Path) -> None:
    ids = [f"call-{n}" for n in range(40)]
    for id_ in ids:
        dead = Files(tmp_path)
        dead.append([encode(row(id_))])
        die(dead)
    heirs = [Files(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(len(heirs)) as pool:
        taken = list(pool.map(Files.adopt, heirs))
    assert sum(taken) == len(ids)
    assert sorted(ids) == sorted(one.id for one in written(tmp_path))
    assert sum(map(bool, taken)) == len(names(tmp_path))


def test_a_file_that_was_taken_for_a_dead_ones_before_it_was_locked_is_made_anew(tmp_path: Path) -> None:
    files = Files(tmp_path)
    heir = os.open(files._rows, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(heir, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        appending = pool.submit(files.append, [encode(row("a"))])
        time.sleep(0.1)
        assert not appending.done()
        files._rows.unlink()
        os.close(heir)
        assert appending.result(5) == 1
    assert [row("a")] == written(tmp_path, "rows")


async def test_a_file_that_cannot_be_opened_keeps_no_other_from_being_taken_over(
    ledger: MoodyLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "0-odd.rows").mkdir()
    (tmp_path / "1-dead.rows").write_bytes(encode(row("a")))
    async with running(ledger, tmp_path):
        await until(lambda: ledger.rows)
    assert f"the journal's folder {tmp_path} cannot be used (Is a directory)" in caplog.text


async def test_a_line_torn_by_a_crash_is_left_out_and_the_others_count(
    ledger: MoodyLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = encode(row("a"))
    (tmp_path / "1-dead.rows").write_bytes(whole + encode(row("b"))[:40])
    async with running(ledger, tmp_path):
        await until(lambda: ledger.rows)
    assert {"a": "ok"} == ledger.outcomes
    assert "ends within a usage row" in caplog.text
    assert not (tmp_path / "1-dead.rows").exists()


@pytest.mark.parametrize("junk", [b"\0\0\0\n", b"{}\n", b"[]\n", b'{"id": 7, "cost": "x"}\n', b"\xff\xfe\n", b"\n"])
async def test_a_line_that_is_no_row_is_logged_and_left_out(
    ledger: MoodyLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture, junk: bytes
) -> None:
    (tmp_path / "1-dead.rows").write_bytes(junk + encode(row("a")))
    async with running(ledger, tmp_path) as outbox:
        await until(lambda: ledger.rows and not outbox.waiting)
    assert {"a": "ok"} == ledger.outcomes
    assert f"usage row not readable, left out: {junk!r}" in caplog.messages


async def test_a_call_without_a_snapshot_takes_no_others_with_it(
    ledger: MoodyLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> UsageRow:
        raise ValueError("what the caller said")

    async with running(ledger, tmp_path) as outbox:
        outbox.open("a", broken)
        outbox.open("b", lambda: row("b", "lost"))
        await until(lambda: written(tmp_path, "calls"))
    assert [row("b", "lost")] == written(tmp_path, "calls")
    assert "call a has no snapshot: ValueError" in caplog.messages
    assert "what the caller said" not in caplog.text


# -- a disk that refuses ---------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk with so many bytes free: the kernel writes what fits, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_row_that_the_disk_has_no_stage_for_spoils_none_before_and_none_after(tmp_path: Path) -> None:
    files, line = Files(tmp_path), encode(row("a"))
    files.append([line])
    with files_of_at_most(len(line) + 20), pytest.raises(OSError, match="File too large"):
        files.append([encode(row("b"))])
    assert files.waiting == 1
    files.append([encode(row("c"))])
    assert [line, encode(row("c"))] == files.head()


def test_a_snapshot_that_the_disk_has_no_stage_for_leaves_the_last_one(tmp_path: Path) -> None:
    files, line = Files(tmp_path), encode(row("a", "lost"))
    files.snapshot([line])
    with files_of_at_most(len(line) + 20), pytest.raises(OSError, match="File too large"):
        files.snapshot([line, encode(row("b", "lost"))])
    assert [row("a", "lost")] == written(tmp_path, "calls")


async def test_without_a_folder_calls_go_on_and_the_log_names_it_and_has_the_row(
    ledger: MoodyLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "file" / "journal"
    (tmp_path / "file").touch()
    async with running(ledger, folder) as outbox:
        outbox.open("a", lambda: row("a", "lost"))
        await until(lambda: caplog.records)
        await outbox.close(row("a"))
        assert {"a": "ok"} == ledger.outcomes
        ledger.down = True
        await outbox.close(row("b"))
        assert outbox.waiting == 1
        await asyncio.sleep(0.05)
    told = [
        record for record in caplog.messages if f"journal's folder {folder} cannot be used (Not a directory)" in record
    ]
    assert len(told) == 1
    assert "free space there, or give this user write access" in told[0]
    (lost,) = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert lost.startswith("usage row not written (ledger: the database does not answer): ")
    assert row("b") == decode(lost.partition("): ")[2].encode())


async def test_a_row_that_neither_ledger_nor_disk_takes_is_settled_from_memory(
    ledger: MoodyLedger, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    async with running(ledger, tmp_path / "file" / "journal") as outbox:
        ledger.down = True
        await outbox.close(row("a"))
        ledger.down = False
        await until(lambda: ledger.rows)
        assert outbox.waiting == 0
    assert [row("a")] == ledger.rows


async def test_a_row_in_memory_goes_to_the_disk_as_soon_as_that_takes_it(ledger: MoodyLedger, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with running(ledger, tmp_path / "file" / "journal") as outbox:
        ledger.down = True
        await outbox.close(row("a"))
        (tmp_path / "file").unlink()
        await until(lambda: [row("a")] == written(tmp_path / "file" / "journal"))


# -- the line --------------------------------------------------------------------------------------

_texts = st.text(st.characters() | st.sampled_from("\0\ud800"), max_size=20)
_money = st.integers(0, 10**15).map(lambda nano: Decimal(nano).scaleb(-9))
_facts = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
)
_rows = st.builds(
    UsageRow, id=_texts, created=st.floats(0, 1e12), tenant=_texts, key_id=_texts, model=_texts,
    tier=st.none() | _texts, pool=st.none() | _texts, region=st.none() | _texts, outcome=_texts,
    refused_by=st.none() | _texts,
    prompt_tokens=st.integers(0, 2**53), cached_tokens=st.integers(0, 2**53), completion_tokens=st.integers(0, 2**53),
    cost=_money, price_list=_texts, ttft=st.none() | st.floats(0, 1e6), latency=st.floats(0, 1e6),
    trail=st.dictionaries(_texts, _facts, max_size=3), project=_texts, model_id=st.none() | _texts, batch=st.booleans(),
    input_cost=_money, cached_cost=_money, output_cost=_money, goods=_money,
)  # fmt: skip


@given(_rows)
def test_any_row_comes_back_from_its_line_as_it_was(one: UsageRow) -> None:
    line = encode(one)
    assert line.count(b"\n") == 1
    assert one == decode(line)


def test_money_is_written_as_text_and_a_set_as_a_list() -> None:
    line = json.loads(encode(replace(ROW, trail={"scrub": {"types": {"b", "a"}}})))
    assert line["cost"] == "1.3E-8"
    assert line["trail"] == {"scrub": {"types": ["a", "b"]}}


def test_a_line_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert decode(json.dumps({**json.loads(encode(ROW)), "colour": "blue"}).encode()) == ROW


# -- without files ---------------------------------------------------------------------------------


async def test_the_direct_journal_settles_and_logs_the_row_that_it_cannot(
    ledger: MoodyLedger, caplog: pytest.LogCaptureFixture
) -> None:
    direct = Direct(ledger)
    direct.open("a", lambda: row("a", "lost"))
    await direct.close(row("a"))
    assert {"a": "ok"} == ledger.outcomes
    ledger.down = True
    await direct.close(row("b"))
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert row("b") == decode(record.getMessage().partition("): ")[2].encode())
