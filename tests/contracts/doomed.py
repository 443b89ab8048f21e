"""A gateway that will be killed, as a process: fake engines, a real ledger and journal, real HTTP on `port`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from app.api.app import ApiDependencies, create_app
from app.billing.ledger.ledger import SqlLedger
from app.billing.ledger.outbox import SettlementOutbox
from app.core.ports import UsageRow
from app.db.store import Store
from app.pipeline.gateway import Gateway
from app.tenancy.authenticator import Authenticator
from app.testing.fakes import FakeEngine
from tests.contracts.ledger_kit import SECRETS
from tests.kit import Kit, graph, policy


class DyingLedger(SqlLedger):
    """Dies as soon as a row is committed: before anyone hears of it."""

    async def settle(self, row: UsageRow) -> None:
        await super().settle(row)
        os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, folder: str, port: str, words: str, kind: str) -> None:
    """words: of every answer, 50 a second. kind: `lasting`, or `dying` at the first settlement."""
    store = Store(url, patience=0.2)
    ledger: Any = (DyingLedger if kind == "dying" else SqlLedger)(store, SECRETS)
    outbox = SettlementOutbox(ledger, Path(folder), every=0.05)
    engine = FakeEngine("word " * int(words), tokens_per_second=50)
    kit = Kit(engines={"a": engine, "b": engine}, ledger=ledger)
    gateway = Gateway(graph(), replace(kit.gateway().ports, authenticator=Authenticator(store), outbox=outbox))
    gateway.apply(policy())
    app = create_app(gateway, ApiDependencies(kit.metrics.export))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", int(port), log_level="warning", lifespan="off"))
    await asyncio.gather(server.serve(), outbox.run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
