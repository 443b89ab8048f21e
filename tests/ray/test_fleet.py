"""Several gateway replicas on one PostgreSQL: a small budget holds under 2,000 calls at once, and every call is proven.

The gateways, Ray Serve, its proxy and the database are real; the models are fakes, so that the calls are many.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import openai
import psutil
import pytest
from sqlalchemy import Connection, func, select, text

from app.audit.log import AuditLog
from app.db.schema import accounts, reservations, usage
from app.db.store import Store
from app.installation.secrets import Secrets
from tests.graph import Graph, running
from tests.kit import free_port
from tests.postgres import server

CALLS = 2_000
REPLICAS = 3
BUDGET = Decimal("0.02")
PRICE = {"input": 1, "cached_input": 0.5, "output": 10}
"""For 1M tokens: a call's worst case is about 0.0005, so that some 40 fit into the budget at once."""


def config(port: int, database: str) -> dict[str, Any]:
    fake = {"adapter": "fake", "placement": "inline"}
    ports = dict.fromkeys(("encoder", "scrubber", "guard", "complexity", "moderator", "cache"), fake)
    fast, slow = (
        {"kind": "fake", "model_id": f"at-{rate}", "options": {"answer": "word " * 12, "tokens_per_second": rate}}
        for rate in (40, 4)
    )
    args = {
        **ports,
        "pools": {"fast": fast, "slow": slow},
        "state": {"database": database},
        "gateway": {
            "num_replicas": REPLICAS,
            "num_cpus": 0.1,
            "max_ongoing_requests": 2000,
            "max_queued_requests": 10_000,
        },
    }
    policy = {
        "tiers": {
            "small": {"min_complexity": 0, "pools": {"fast": 1}, "price": PRICE},
            "slow": {"min_complexity": 1, "pools": {"slow": 1}, "price": PRICE},
        },
        "admit": {"max_completion_tokens": 32, "max_in_flight": 1900},
        "moderate": {"thresholds": {"toxicity": 0.5}},
        "observability": {"level": "WARNING"},
    }
    application = {
        "name": "penstock", "route_prefix": "/", "import_path": "graphs.chat:build", "args": args,
        "deployments": [{"name": "Gateway", "user_config": policy}],
    }  # fmt: skip
    http = {"host": "127.0.0.1", "port": port}
    return {"proxy_location": "HeadOnly", "http_options": http, "applications": [application]}


@dataclass
class Fleet(Graph):
    """Several gateways and a database."""

    @property
    def secrets(self) -> Secrets:
        return Secrets((self.state / "secret.key").read_text().strip())

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        key = (self.state / "admin.key").read_text().strip()
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.request(method, f"{self.url}/admin/v1{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def key_of(self, tenant: str, budget: Decimal | None = None) -> str:
        """A new tenant's key, made over the admin API."""
        self.admin("POST", "/tenants", {"id": tenant})
        if budget is not None:
            self.admin("PUT", f"/budgets/tenant:{tenant}", {"budget": str(budget), "period": "month"})
        return str(self.admin("POST", "/keys", {"tenant": tenant})["key"])

    def gateways(self) -> list[psutil.Process]:
        return [one for one in self.family() if "ServeReplica:penstock:Gateway" in one.name() + " ".join(one.cmdline())]

    async def read(self, query: Any) -> list[Any]:
        store = Store(self.database)

        def work(connection: Connection) -> list[Any]:
            return list(connection.execute(query))

        try:
            return await store.read(work)
        finally:
            await store.close()

    async def verify(self, tenant: str) -> Any:
        store = Store(self.database)
        try:
            return await AuditLog(store, self.secrets).verify(tenant)
        finally:
            await store.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    port = free_port()
    with (
        server() as database,
        running(tmp_path_factory.mktemp("fleet"), config(port, database), port, database=database) as started,
    ):
        found = Fleet(**vars(started))
        deadline = time.monotonic() + 60
        while len(found.gateways()) < REPLICAS:
            assert time.monotonic() < deadline, "not every gateway replica came up"
            time.sleep(0.2)
        yield found


async def crowd(fleet: Fleet, key: str, calls: int, first: int = 0) -> Counter[str]:
    """So many streamed calls at once, none of a question that stood in the cache; how each ended."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    http = httpx.AsyncClient(limits=limits, timeout=240)
    client = openai.AsyncOpenAI(api_key=key, base_url=f"{fleet.url}/v1", max_retries=0, http_client=http)

    async def call(number: int) -> str:
        try:
            stream = await client.chat.completions.create(
                model="small",
                messages=[{"role": "user", "content": f"Question number {number}"}],
                stream=True,
            )
            last = None
            async for chunk in stream:
                last = chunk.choices[0].finish_reason if chunk.choices else last
        except openai.APIStatusError as error:
            return str(error.code or error.status_code)
        return str(last)

    async with http:
        return Counter(await asyncio.gather(*(call(number) for number in range(first, first + calls))))


REFUSED = ("insufficient_quota", "rate_limit_exceeded")
"""The budget is spent, or what is left of it is held by calls on their way."""


async def test_two_thousand_calls_at_once_stay_within_a_small_budget_and_each_is_one_audited_row(fleet: Fleet) -> None:
    key = fleet.key_of("acme", BUDGET)

    ended = await crowd(fleet, key, CALLS)

    assert ended["stop"], ended
    assert set(ended) <= {"stop", *REFUSED}, ended
    assert ended.total() == CALLS
    # a slow machine refuses more while worst cases are set aside; what nobody holds any more can be spent
    for _ in range(40):
        ended += await crowd(fleet, key, 20, ended.total())
    rows = await fleet.read(select(usage.c.outcome, func.count(), func.sum(usage.c.cost)).group_by(usage.c.outcome))
    by_outcome = {outcome: count for outcome, count, _ in rows}
    assert by_outcome == {"ok": ended["stop"], "refused": sum(ended[code] for code in REFUSED)}
    [account] = await fleet.read(select(accounts).where(accounts.c.id == "tenant:acme"))
    assert account.spent == sum(int(cost) for _, _, cost in rows) <= BUDGET * 10**9
    assert account.spent > BUDGET * 10**9 / 2
    assert account.reserved == 0
    assert await fleet.read(select(reservations)) == []
    verified = await fleet.verify("acme")
    assert verified.ok, verified.faults[:3]
    assert verified.records >= CALLS
    # One scrape, of whichever gateway the proxy picks, counts the calls of all.
    scraped = await asyncio.to_thread(httpx.get, f"{fleet.url}/metrics")
    counted = re.findall(r"^penstock_calls_total\{.*\} (\S+)$", scraped.text, re.MULTILINE)
    assert sum(map(float, counted)) == ended.total()


async def test_a_gateway_that_is_killed_in_mid_stream_leaves_one_row_a_call_and_no_reservation(fleet: Fleet) -> None:
    key = fleet.key_of("globex")
    asking = asyncio.ensure_future(crowd_that_breaks(fleet, key, 30))
    await asyncio.sleep(2.2)  # an answer takes 3 s, and the journal looks once a second
    fleet.gateways()[0].kill()
    broken = await asking
    assert broken > 0, "no call was cut off: the test would show nothing"

    deadline = time.monotonic() + 90
    whose = usage.c.tenant == "globex"
    while time.monotonic() < deadline:
        held = await fleet.read(select(reservations).where(reservations.c.tenant == "globex"))
        if not held:
            break
        await asyncio.sleep(1)
    assert held == []
    rows = await fleet.read(select(usage.c.outcome, usage.c.completion_tokens).where(whose))
    lost = [tokens for outcome, tokens in rows if outcome == "lost"]
    assert len(lost) == broken
    assert len(rows) == 30
    assert min(lost) > 0  # billed for what was streamed until the last look
    verified = await fleet.verify("globex")
    assert verified.ok, verified.faults[:3]


async def crowd_that_breaks(fleet: Fleet, key: str, calls: int) -> int:
    """How many of so many streams broke off."""
    async with httpx.AsyncClient(base_url=fleet.url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
        body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "hello"}]}

        async def call() -> bool:
            try:
                answer = await client.post("/v1/chat/completions", json=body)
            except httpx.HTTPError:
                return True
            return not answer.text.endswith("data: [DONE]\n\n")

        return sum(await asyncio.gather(*(call() for _ in range(calls))))


async def test_one_changed_row_is_found(fleet: Fleet) -> None:
    fleet.key_of("initech")
    store = Store(fleet.database)

    def tamper(connection: Connection) -> None:
        connection.execute(text("DROP TRIGGER audit_no_update ON audit"))
        connection.execute(text("UPDATE audit SET data = data || ' ' WHERE chain = 'initech' AND seq = 1"))

    await store.write(tamper)
    await store.close()
    verified = await fleet.verify("initech")
    assert not verified.ok
    assert [(1, "initech")] == [(fault.seq, fault.chain) for fault in verified.faults]
