"""A batch of a thousand lines on a real graph, its worker killed twice on the way: every line once, every bill once.

Gateways, worker, Ray Serve and PostgreSQL are real; the models are fakes, so that the lines are many.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from sqlalchemy import Connection, select

from app.audit.log import AuditLog
from app.db.schema import accounts, batch_lines, reservations, usage
from app.db.store import Store
from app.installation.secrets import Secrets
from tests.batch_kit import begin, lines, task, written
from tests.graph import BIN, Graph, running
from tests.kit import free_port
from tests.postgres import server

LINES = 1_000
PRICE = {"input": 1, "cached_input": 0.5, "output": 10}
"""For 1M tokens."""


def config(port: int, database: str) -> dict[str, Any]:
    fake = {"adapter": "fake", "placement": "inline"}
    args = {
        **dict.fromkeys(("encoder", "scrubber", "guard", "complexity", "moderator", "cache"), fake),
        "pools": {"only": {"kind": "fake", "model_id": "fake", "options": {"tokens_per_second": 10}}},
        "state": {"database": database},
        "gateway": {"num_replicas": 2, "num_cpus": 0.1, "max_ongoing_requests": 500},
        "batch_worker": {"num_replicas": 1, "num_cpus": 0.1},
    }
    policy = {
        "tiers": {"small": {"min_complexity": 0, "pools": {"only": 1}, "price": PRICE}},
        "stages": ["admit", "scrub", "guard", "route", "generate", "moderate", "restore", "settle"],
        "admit": {"max_completion_tokens": 32},
        "batches": {"concurrency": 24, "yield_at": 100},
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
class Batching(Graph):
    """A graph with a batch worker and a database."""

    def admin(self, path: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {(self.state / 'admin.key').read_text().strip()}"}
        answer = httpx.post(f"{self.url}/admin/v1{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def client_of(self, tenant: str) -> openai.OpenAI:
        self.admin("/tenants", {"id": tenant})
        key = self.admin("/keys", {"tenant": tenant})["key"]
        return openai.OpenAI(api_key=key, base_url=f"{self.url}/v1", max_retries=2, timeout=60)

    def processes(self, deployment: str) -> list[psutil.Process]:
        found = []
        for one in self.family():
            try:
                if f"ServeReplica:penstock:{deployment}" in one.name() + " ".join(one.cmdline()):
                    found.append(one)
            except psutil.Error:  # it has just ended
                continue
        return found

    async def read(self, query: Any) -> list[Any]:
        store = Store(self.database)

        def work(connection: Connection) -> list[Any]:
            return list(connection.execute(query))

        try:
            return await store.read(work)
        finally:
            await store.close()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    port = free_port()
    with (
        server() as database,
        running(tmp_path_factory.mktemp("batches"), config(port, database), port, database=database) as started,
    ):
        yield Batching(**vars(started))


async def followed(client: openai.OpenAI, id_: str, until: int, seconds: float) -> Any:
    """The batch once so many lines are answered, or it has ended."""
    deadline = time.monotonic() + seconds
    while True:
        found = await asyncio.to_thread(client.batches.retrieve, id_)
        if found.status in ("completed", "failed", "expired", "cancelled") or found.request_counts.completed >= until:
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)


async def killed(graph: Batching, deployment: str) -> None:
    """One replica, by SIGKILL."""
    deadline = time.monotonic() + 60
    while not (found := graph.processes(deployment)):
        assert time.monotonic() < deadline, f"no replica of {deployment} came up"
        await asyncio.sleep(0.2)
    found[0].kill()
    assert found[0].pid not in {one.pid for one in graph.processes(deployment) if one.status() != "zombie"}


async def exact(graph: Batching, tenant: str, client: openai.OpenAI, batch: Any, count: int) -> list[Any]:
    """Every line once in the output, in its order; its calls; nothing held; the account is their sum."""
    assert ("completed", count, 0) == (batch.status, batch.request_counts.completed, batch.request_counts.failed)
    out = await asyncio.to_thread(written, client, batch.output_file_id)
    assert [f"t{n}" for n in range(count)] == [one["custom_id"] for one in out]
    for number, one in enumerate(out):
        assert f"You said: Question {number}" == one["response"]["body"]["choices"][0]["message"]["content"]
    rows = await graph.read(select(usage).where(usage.c.tenant == tenant))
    assert all(row.batch for row in rows)
    for row in rows:
        assert (row.prompt_tokens * 1 + row.completion_tokens * 10) * 1000 == 2 * row.cost
    [account] = await graph.read(select(accounts).where(accounts.c.id == f"tenant:{tenant}"))
    assert (sum(row.cost for row in rows), 0) == (account.spent, account.reserved)
    assert [] == await graph.read(select(reservations).where(reservations.c.tenant == tenant))
    assert [] == await graph.read(select(batch_lines).where(batch_lines.c.batch == batch.id))
    return rows


async def test_a_thousand_lines_survive_two_killed_workers_each_answered_once_and_billed_once(graph: Batching) -> None:
    client = graph.client_of("acme")
    data = lines(*(task(f"t{n}", f"Question {n}") for n in range(LINES)))
    batch = await asyncio.to_thread(begin, client, data)
    for done in (150, 450):
        found = await followed(client, batch.id, done, 120)
        assert found.status == "in_progress", "the batch was over before the worker could be killed"
        await killed(graph, "BatchWorker")
    ended = await followed(client, batch.id, LINES + 1, 180)

    rows = await exact(graph, "acme", client, ended, LINES)
    assert LINES == len(rows) == len({row.id for row in rows})
    assert {"ok"} == {row.outcome for row in rows}
    store = Store(graph.database)
    verified = await AuditLog(store, Secrets((graph.state / "secret.key").read_text().strip())).verify("acme")
    await store.close()
    assert verified.ok, verified.faults[:3]


async def test_a_killed_gateway_costs_no_line(graph: Batching) -> None:
    client = graph.client_of("globex")
    data = lines(*(task(f"t{n}", f"Question {n}") for n in range(200)))
    batch = await asyncio.to_thread(begin, client, data)
    found = await followed(client, batch.id, 40, 60)
    assert found.status == "in_progress"
    await killed(graph, "Gateway")
    ended = await followed(client, batch.id, 201, 120)

    rows = await exact(graph, "globex", client, ended, 200)
    calls = {one["response"]["body"]["id"] for one in written(client, ended.output_file_id)}
    assert 200 == len(calls)
    assert calls == {row.id for row in rows if row.cost}


async def test_the_command_line_submits_waits_and_fetches(graph: Batching, tmp_path: Path) -> None:
    client = graph.client_of("initech")
    (tmp_path / "in.jsonl").write_bytes(lines(*(task(f"t{n}", f"Question {n}") for n in range(20))))
    env = {**os.environ, "PENSTOCK_URL": graph.url, "PENSTOCK_KEY": client.api_key}

    def penstock(*words: str) -> str:
        done = subprocess.run([BIN / "penstock", "batch", *words], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = await asyncio.to_thread(penstock, "submit", str(tmp_path / "in.jsonl"), "--wait")
    id_, told = said.strip().splitlines()
    assert "completed: 20 of 20 lines answered, 0 failed" == told
    out = await asyncio.to_thread(penstock, "get", id_)
    assert [f"t{n}" for n in range(20)] == [json.loads(line)["custom_id"] for line in out.splitlines()]
    assert id_ in await asyncio.to_thread(penstock, "list")
