"""How fast the ledger is: one call at a time, and a steady rate from several gateway processes.

    python bench/ledger.py [--seconds 10] [--rate 200] [--processes 4] [--postgres URL]

Every call is counted against the limits and budgets of its key, project and tenant, and recorded in the audit chain.
Prints, for SQLite and a PostgreSQL (the URL given, else a temporary one where it is installed): p50 and p99 of
reserve + settle in milliseconds, calls a second when many wait, and the steady rate with the errors counted; then
whether the books balance and the chain verifies.
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
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from sqlalchemy import func, select

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from app.audit.log import AuditLog  # noqa: E402
from app.billing.ledger.ledger import SqlLedger  # noqa: E402
from app.core.ports import AbusePolicy, Denied, Principal, UsageRow  # noqa: E402
from app.core.refusals import LedgerError  # noqa: E402
from app.core.terms import Terms  # noqa: E402
from app.db.schema import from_nano, usage  # noqa: E402
from app.db.store import Store  # noqa: E402
from app.installation.secrets import Secrets  # noqa: E402
from app.tenancy.admin import AdminService  # noqa: E402
from app.tenancy.authenticator import Authenticator  # noqa: E402
from tests.postgres import server  # noqa: E402

SECRETS = Secrets("a secret for the bench, as long as one must be")
COST = Decimal("0.001")
MANY = 10**9
TERMS = Terms(
    requests_per_minute=MANY,
    tokens_per_minute=MANY,
    requests_per_day=MANY,
    tokens_per_day=MANY,
    concurrent_requests=MANY,
    budget=Decimal(1_000_000),
    budget_period="month",
)


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


@dataclass
class Gateway:
    """A gateway's ledger, and the caller whose calls it bills."""

    ledger: SqlLedger
    who: Principal

    async def call(self) -> float:
        """One call's reserve + settle; return its seconds."""
        id_ = uuid.uuid4().hex
        start = time.perf_counter()
        reservation = await self.ledger.reserve(self.who, id_, 200, COST, frozenset({"auto"}))
        assert not isinstance(reservation, Denied)  # noqa: S101 - the bench stays below every limit
        await self.ledger.settle(self._row(id_))
        return time.perf_counter() - start

    def _row(self, id_: str) -> UsageRow:
        """A row like a real one's, with a trail of a few stages."""
        stages = ("guard", "recall", "route", "moderate")
        return UsageRow(
            id_, time.time(), self.who.tenant, self.who.key_id, "auto", "small", "pool-1", "eu", "ok", None, 120, 64,
            80, Decimal("0.000123"), "default@01234567", 0.12, 1.4, project=self.who.project, model_id="model-1",
            goods=Decimal("0.00005"), trail={stage: {"ms": 1.25, "label": "clean", "score": 0.01} for stage in stages},
            input_cost=Decimal("0.000023"), cached_cost=Decimal("0.00001"), output_cost=Decimal("0.00009"),
        )  # fmt: skip


@contextlib.asynccontextmanager
async def gateway(url: str, key: str) -> AsyncIterator[Gateway]:
    """A gateway that watches for everything there is to watch for."""
    ledger = SqlLedger(Store(url), SECRETS)
    ledger.watch(AbusePolicy(breaker_multiple=10, strikes_to_throttle=10, strikes_to_suspend=50), 900.0)
    who = await Authenticator(ledger.store).identify(key)
    assert who is not None  # noqa: S101 - `prepare` made the key
    yield Gateway(ledger, who)
    await ledger.close()


async def prepare(url: str) -> str:
    """A new key of a project of a tenant's, all three with limits and a budget."""
    admin_service = AdminService(Store(url), SECRETS)
    await admin_service.create_tenant("bench", terms=TERMS, actor="cli")
    await admin_service.create_project("bench", "bench", terms=TERMS, actor="cli")
    _, key = await admin_service.create_key("bench", {"terms": TERMS}, project="bench", actor="cli")
    await admin_service.store.close()
    return key


async def alone(url: str, key: str, calls: int) -> Measured:
    """One call after the other."""
    async with gateway(url, key) as one:
        for _ in range(20):
            await one.call()
        start = time.perf_counter()
        times = [await one.call() for _ in range(calls)]
        return Measured(times, 0, time.perf_counter() - start)


async def crowd(url: str, key: str, calls: int, width: int) -> Measured:
    """`width` callers, each one call after the other."""
    async with gateway(url, key) as one:

        async def caller() -> list[float]:
            return [await one.call() for _ in range(calls // width)]

        start = time.perf_counter()
        times = [spent for spents in await asyncio.gather(*(caller() for _ in range(width))) for spent in spents]
        return Measured(times, 0, time.perf_counter() - start)


async def steady(url: str, key: str, rate: float, seconds: float) -> Measured:
    """`rate` calls a second for `seconds`, whether or not earlier ones have ended."""
    async with gateway(url, key) as one:
        start = time.perf_counter()

        async def at(moment: float) -> float:
            await asyncio.sleep(start + moment - time.perf_counter())
            return await one.call()

        planned = (at(number / rate) for number in range(int(rate * seconds)))
        results = await asyncio.gather(*planned, return_exceptions=True)
        took = time.perf_counter() - start
    errors = [result for result in results if isinstance(result, LedgerError)]
    return Measured([result for result in results if isinstance(result, float)], len(errors), took)


async def fleet(url: str, key: str, rate: float, seconds: float, processes: int) -> Measured:
    """`rate` calls a second in all, from several processes."""
    pace = ["--rate", str(rate / processes), "--seconds", str(seconds)]
    command = [sys.executable, __file__, "--worker", url, key, *pace]
    running = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(processes)]
    parts = [Measured(**json.loads((await process.communicate())[0])) for process in running]
    times = [spent for part in parts for spent in part.times]
    return Measured(times, sum(part.errors for part in parts), max(part.seconds for part in parts))


async def runtime(url: str) -> list[str]:
    """Whether what is spent is what was used, on every account, and what the audit log finds."""
    store = Store(url)
    used = from_nano(int(await store.read(lambda c: c.scalar(select(func.sum(usage.c.cost)))) or 0))
    accounts = await AdminService(store, SECRETS).accounts("bench")
    start = time.perf_counter()
    found = await AuditLog(store, SECRETS).verify()
    seconds = time.perf_counter() - start
    await store.close()
    spent = {account.spent for account in accounts}
    balanced = "=" if spent == {used} else "IS NOT"
    said = "verifies" if found.ok else f"DOES NOT VERIFY: {found.faults[0]}"
    return [
        f"  spent {', '.join(map(str, spent))} {balanced} usage {used} on each of {len(accounts)} accounts",
        f"  reserved {sum(account.reserved for account in accounts):f}",
        f"  the audit log of {found.records} records {said} ({seconds:.1f} s)",
    ]


async def measure(name: str, url: str, args: argparse.Namespace) -> None:
    """Print one database's figures."""
    key = await prepare(url)
    print(name)
    print((await alone(url, key, 1000)).line("one at a time"))
    print((await crowd(url, key, 6400, 64)).line("64 at once"))
    what = f"{args.rate:g}/s for {args.seconds:g} s, {args.processes} processes"
    print((await fleet(url, key, args.rate, args.seconds, args.processes)).line(what))
    print(*await runtime(url), sep="\n")


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
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        url, key = args.worker
        print(json.dumps(asdict(asyncio.run(steady(url, key, args.rate, args.seconds)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure("SQLite", f"sqlite:///{folder}/ledger.db", args))
    with postgres(args.postgres) as url:
        if url:
            asyncio.run(measure("PostgreSQL", url, args))


if __name__ == "__main__":
    main()
