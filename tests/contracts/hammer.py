"""One gateway of several, as a process: reserve and settle as fast as it can, then say what happened, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from decimal import Decimal

from app.core.ports import AbusePolicy, Denied
from app.db.schema import reservations
from tests.contracts.ledger_kit import HOLD, sql_world


async def main(url: str, key: str, calls: int, name: str) -> Counter[str]:
    """Make `calls` calls of 10 tokens and at most 0.01 each, 32 at a time, at one instant of the clock.

    Counts the calls granted, those denied by reason, and errors. most: the most calls for `name` seen at once.
    """
    seen: Counter[str] = Counter()
    slots = asyncio.Semaphore(32)
    async with sql_world(url, patience=30) as world:
        world.ledger.watch(AbusePolicy(breaker_multiple=10**9, strikes_to_throttle=10**9), HOLD)
        who = await world.authenticator.identify(key)
        assert who is not None

        async def call(number: int) -> None:
            async with slots:
                id_ = f"{os.getpid()}-{number}"
                got = await world.reserve(who, id_, cost="0.01", names=["auto"])
                if not isinstance(got, Denied) and number % 2:
                    got = await world.narrow(who, id_, cost="0.009", names=["small"])
                    if isinstance(got, Denied):
                        await world.settle(who, id_)
                if isinstance(got, Denied):
                    seen[got.reason] += 1
                    return
                on_their_way = await world.rows(reservations, reservations.c.names.contains(name))
                seen["most"] = max(seen["most"], len(on_their_way))
                await asyncio.sleep(random.random() / 200)
                spent = Decimal(random.randrange(9_000_001)).scaleb(-9)
                await world.settle(who, id_, str(spent), tokens=10)
                seen["granted"] += 1

        results = await asyncio.gather(*(call(number) for number in range(calls)), return_exceptions=True)
    seen["errors"] = sum(isinstance(result, BaseException) for result in results)
    for error in filter(None, results):
        sys.stderr.write(f"{error!r}\n")
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))))
