"""How fast the ledger is: one call at a time, and a steady rate from several gateway processes.

    python bench/ledger.py [--seconds 10] [--rate 200] [--processes 4] [--postgres URL]

Prints, for SQLite and a PostgreSQL (the URL given, else a temporary one where it is installed): p50 and p99 of
reserve + settle in milliseconds, calls a second when many wait, and the steady rate with the errors counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from app.adapters.sql.ledger import LedgerError, SqlLedger  # noqa: E402
from app.ports import Denied, Principal, UsageRow  # noqa: E402
from tests.postgres import server  # noqa: E402

WHO = Principal("bench", "key_bench", frozenset(), 10**9, 10**12)
COST = Decimal("0.001")


@dataclass
class Measured:
    """times: seconds of reserve + settle, one for each call."""

    times: list[float]
    errors: int
    seconds: float

    def line(self, what: str) -> str:
        """The figures, for people."""
        cuts = statistics.quantiles(self.times, n=100)
        rate = len(self.times) / self.seconds
        p50, p99 = cuts[49] * 1e3, cuts[98] * 1e3
        return f"  {what:<34} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {rate:7.0f} calls/s   errors {self.errors}"


def row(id_: str) -> UsageRow:
    """A row like a real one's, with a trail of a few rooms."""
    trail = {room: {"ms": 1.25, "label": "clean", "score": 0.01} for room in ("guard", "recall", "route", "moderate")}
    return UsageRow(
        id_, time.time(), WHO.tenant, WHO.key_id, "auto", "small", "pool-1", "eu", "ok", None, 120, 64, 80,
        Decimal("0.000123"), "default", 0.12, 1.4, trail,
    )  # fmt: skip


async def call(ledger: SqlLedger) -> float:
    """One call's reserve + settle; return its seconds."""
    id_ = uuid.uuid4().hex
    start = time.perf_counter()
    reservation = await ledger.reserve(WHO, id_, 200, COST)
    assert not isinstance(reservation, Denied)  # noqa: S101 - the bench has neither limits nor a budget
    await ledger.settle(reservation, row(id_))
    return time.perf_counter() - start


async def alone(url: str, calls: int) -> Measured:
    """One call after the other."""
    ledger = SqlLedger(url)
    for _ in range(20):
        await call(ledger)
    start = time.perf_counter()
    times = [await call(ledger) for _ in range(calls)]
    seconds = time.perf_counter() - start
    await ledger.close()
    return Measured(times, 0, seconds)


async def crowd(url: str, calls: int, width: int) -> Measured:
    """`width` callers, each one call after the other."""
    ledger = SqlLedger(url)
    start = time.perf_counter()

    async def caller() -> list[float]:
        return [await call(ledger) for _ in range(calls // width)]

    times = [spent for spents in await asyncio.gather(*(caller() for _ in range(width))) for spent in spents]
    seconds = time.perf_counter() - start
    await ledger.close()
    return Measured(times, 0, seconds)


async def steady(url: str, rate: float, seconds: float) -> Measured:
    """`rate` calls a second for `seconds`, whether or not earlier ones have ended."""
    ledger = SqlLedger(url)
    await ledger.ready()
    start = time.perf_counter()

    async def at(moment: float) -> float:
        await asyncio.sleep(start + moment - time.perf_counter())
        return await call(ledger)

    planned = (at(number / rate) for number in range(int(rate * seconds)))
    results = await asyncio.gather(*planned, return_exceptions=True)
    took = time.perf_counter() - start
    await ledger.close()
    errors = [result for result in results if isinstance(result, LedgerError)]
    return Measured([result for result in results if isinstance(result, float)], len(errors), took)


async def fleet(url: str, rate: float, seconds: float, processes: int) -> Measured:
    """`rate` calls a second in all, from several processes."""
    command = [sys.executable, __file__, "--worker", url, "--rate", str(rate / processes), "--seconds", str(seconds)]
    running = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(processes)]
    parts = [Measured(**json.loads((await process.communicate())[0])) for process in running]
    times = [spent for part in parts for spent in part.times]
    return Measured(times, sum(part.errors for part in parts), max(part.seconds for part in parts))


async def measure(name: str, url: str, args: argparse.Namespace) -> None:
    """Print one database's figures."""
    ledger = SqlLedger(url)
    await ledger.ensure_tenant(WHO.tenant, budget=Decimal(1_000_000))
    await ledger.close()
    print(name)
    print((await alone(url, 1000)).line("one at a time"))
    print((await crowd(url, 6400, 64)).line("64 at once"))
    what = f"{args.rate:g}/s for {args.seconds:g} s, {args.processes} processes"
    print((await fleet(url, args.rate, args.seconds, args.processes)).line(what))
    ledger = SqlLedger(url)
    (tenant,) = [tenant for tenant in await ledger.tenants() if tenant.id == WHO.tenant]
    used = sum((each.cost for each in await ledger.usage(WHO.tenant, limit=10**9)), Decimal(0))
    await ledger.close()
    print(f"  spent {tenant.spent} = usage {used}, reserved {tenant.reserved}")


@contextlib.contextmanager
def postgres(url: str | None) -> Iterator[str | None]:
    """The URL given, else a temporary server's, durable as in production; None where there is none."""
    if url:
        yield url
        return
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(server(durable=True))
        except RuntimeError as error:
            print(f"PostgreSQL is left out: {error}")
            found = None
        yield found


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(asdict(asyncio.run(steady(args.worker, args.rate, args.seconds)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure("SQLite", f"sqlite:///{folder}/ledger.db", args))
    with postgres(args.postgres) as url:
        if url:
            asyncio.run(measure("PostgreSQL", url, args))


if __name__ == "__main__":
    main()
