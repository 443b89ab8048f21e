"""The semantic cache's part of the admin API and of the command line: what it holds, what it is told to forget."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from typer.testing import CliRunner, Result

from app.api.app import ApiDependencies, create_app
from app.audit.records import OPERATOR
from app.core.ports import PortError, Stock
from app.db.store import Store
from app.installation.secrets import Secrets
from app.observability.metrics import Metrics
from app.tenancy.admin import AdminService
from app.testing.fakes import FakeIndex
from graphs.cli import app as cli
from tests.kit import Kit, free_port

KEY = "sk-admin-test-of-the-cache"


@pytest.fixture
def index() -> FakeIndex:
    made = FakeIndex()
    for partition in ("acme/small/v1/a", "acme/small/v2/a", "acme/large/v1/a", "globex/small/v1/a"):
        asyncio.run(made.store(partition, np.zeros(4, np.float32), "a secret question", {"answer": "x"}, 600))
    return made


@pytest.fixture
def url(index: FakeIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PENSTOCK_ADMIN_KEY", KEY)
    admin_service = AdminService(
        Store(f"sqlite:///{tmp_path}/ledger.db"), Secrets("an installation's secret, long enough")
    )
    made = create_app(
        Kit(index=index).gateway(), ApiDependencies(Metrics().export, admin_service=admin_service, admin_key=KEY)
    )
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(made, "127.0.0.1", port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def ask(url: str, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.request(method, f"{url}/admin/v1{path}", json=body, params=query or None, headers=headers)
    return answer.status_code, answer.json()


@pytest.fixture
def tenants(url: str) -> None:
    for tenant in ("acme", "globex"):
        assert ask(url, "POST", "/tenants", {"id": tenant})[0] == 200


def test_the_stock_is_told_by_tenant(url: str) -> None:
    status, held = ask(url, "GET", "/cache")
    assert (200, {"acme": 3, "globex": 1}) == (status, {one["tenant"]: one["entries"] for one in held["tenants"]})
    assert (0, None) == (held["evicted"], held["saving"])
    assert all(one["bytes"] > 0 for one in held["tenants"])


@pytest.mark.parametrize(
    ("which", "count"),
    [
        ({"tenant": "acme"}, 3),
        ({"tenant": "acme", "version": "v1"}, 2),
        ({"model": "small"}, 3),
        ({"tenant": "globex", "model": "large"}, 0),
        ({"all": "true"}, 4),
    ],
)
@pytest.mark.usefixtures("tenants")
def test_what_is_named_is_forgotten(url: str, index: FakeIndex, which: dict[str, str], count: int) -> None:
    status, done = ask(url, "DELETE", "/cache", **which)
    assert (200, count, "cache.forgetting") == (status, done["entries"], done["object"])
    assert 4 - count == len(index.held)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "missing_required_parameter"),
        ({"all": "false"}, 400, "missing_required_parameter"),
        ({"tenant": "acmee"}, 404, "not_found"),
        ({"tenant": ""}, 400, "invalid_value"),
        ({"tenants": "acme"}, 400, "unknown_parameter"),
    ],
)
@pytest.mark.usefixtures("tenants")
def test_a_slip_empties_no_cache(url: str, index: FakeIndex, query: dict[str, str], status: int, code: str) -> None:
    found, said = ask(url, "DELETE", "/cache", **query)
    assert (status, code, 4) == (found, said["error"]["code"], len(index.held))


@pytest.mark.usefixtures("tenants")
def test_forgetting_is_in_the_audit_chain_and_what_was_asked_is_not(url: str) -> None:
    ask(url, "DELETE", "/cache", tenant="acme", model="small")
    ask(url, "DELETE", "/cache", version="v1")
    facts = {"tenant": "acme", "model": "small", "version": None, "entries": 2}
    for chain, count in (("acme", 1), (OPERATOR, 2)):
        found = ask(url, "GET", "/audit", chain=chain, kind="cache.forget")[1]["data"]
        assert (count, True) == (len(found), facts in [json.loads(one["data"]) for one in found])
        assert "secret question" not in json.dumps(found)
    assert ask(url, "GET", "/audit/verify")[1]["ok"] is True


@pytest.mark.usefixtures("tenants")
def test_an_erased_tenants_answers_leave_the_cache_too(url: str, index: FakeIndex) -> None:
    status, done = ask(url, "POST", "/tenants/acme/erase", {"confirm": "acme"})
    assert (200, 3) == (status, done["cached"])
    assert {"globex/small/v1/a"} == {partition for partition, _ in index.held}


@pytest.mark.usefixtures("tenants")
def test_a_cache_that_does_not_answer_is_a_503_that_says_so(url: str, index: FakeIndex) -> None:
    index.error = PortError("cache", "away")
    for method, path, body in (
        ("DELETE", "/cache?tenant=acme", None),
        ("POST", "/tenants/acme/erase", {"confirm": "acme"}),
    ):
        status, said = ask(url, method, path, body)
        assert (503, "cache_unavailable") == (status, said["error"]["code"])


def test_without_the_key_nothing_is_forgotten(url: str, index: FakeIndex) -> None:
    assert httpx.delete(f"{url}/admin/v1/cache?all=true").status_code == 401
    assert 4 == len(index.held)


def penstock(*words: str) -> Result:
    return CliRunner().invoke(cli, ["cache", *words])


@pytest.mark.usefixtures("tenants")
def test_the_command_shows_and_forgets(url: str) -> None:
    shown = penstock("show", "--url", url)
    assert shown.exit_code == 0, shown.output
    assert "globex" in shown.output
    assert "in memory only; 0 made room" in shown.output
    assert penstock("forget", "--url", url, "--tenant", "acme", "--model", "small").output == "2 forgotten\n"
    assert json.loads(penstock("forget", "--url", url, "--all", "--json").output)["entries"] == 2
    assert json.loads(penstock("show", "--url", url, "--json").output)["tenants"] == []


def test_the_command_forgets_nothing_by_accident(url: str, index: FakeIndex) -> None:
    done = penstock("forget", "--url", url)
    assert (2, 4) == (done.exit_code, len(index.held))
    assert "Name a tenant, model or version" in done.stderr


@pytest.mark.usefixtures("url")
def test_without_a_running_graph_the_command_says_where_the_cache_is() -> None:
    done = penstock("show")
    assert (2, True) == (done.exit_code, "name it by --url or PENSTOCK_URL" in done.stderr)


def test_a_store_that_fails_is_told_by_command_and_metrics(index: FakeIndex, url: str) -> None:
    index.saving = False
    assert "NOT SAVED" in penstock("show", "--url", url).output
    metrics = Metrics()
    metrics.cache(Stock({"acme": (2, 100), "globex": (1, 50)}, 7, saving=False))
    told = metrics.export()[0].decode()
    for line in ("entries 3.0", "bytes 150.0", "evicted 7.0", "unsaved 1.0"):
        assert f"penstock_cache_{line}" in told
    metrics.cache(Stock({}, 0, saving=None))
    assert "penstock_cache_unsaved 0.0" in metrics.export()[0].decode()
