"""One gateway of several, as a process: reserve and settle as fast as it can, then say what happened, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from decimal import Decimal

from app.adapters.sql.ledger import SqlLedger
from app.ports import Denied, Principal
from tests.contracts.ledger_kit import START, row


async def main(url: str, calls: int, rpm: int, tpm: int) -> Counter[str]:
    """Make `calls` calls of 10 tokens and at most 0.01 each, 32 at a time, at one instant of the clock."""
    ledger = SqlLedger(url, lambda: START, patience=30)
    who = Principal("acme", "key_1", frozenset(), rpm, tpm)
    seen: Counter[str] = Counter()
    slots = asyncio.Semaphore(32)

    async def call(number: int) -> None:
        async with slots:
            id_ = f"{os.getpid()}-{number}"
            got = await ledger.reserve(who, id_, 10, Decimal("0.01"))
            if isinstance(got, Denied):
                seen[got.reason] += 1
                return
            await asyncio.sleep(random.random() / 200)
            spent = Decimal(random.randrange(10_000_001)).scaleb(-9)
            await ledger.settle(got, row(id_, who, str(spent), tokens=10))
            seen["granted"] += 1

    results = await asyncio.gather(*(call(number) for number in range(calls)), return_exceptions=True)
    seen["errors"] = sum(isinstance(result, BaseException) for result in results)
    for error in filter(None, results):
        sys.stderr.write(f"{error!r}\n")
    await ledger.close()
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))))
