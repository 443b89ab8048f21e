"""What is kept belongs to one owner, a tenant's project: to every other key it is not there.

Every GET, DELETE and cancelling of the document that names a kept thing is tried by every other key; a new endpoint
that keeps something is in the document and has to be told to `KEPT` here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.openapi.operations import OPERATIONS
from app.config import Config
from app.installation.paths import admin_key
from graphs.local import create
from tests.kit import free_port, graph, policy

OWNERS = [("acme", ""), ("acme", "north"), ("acme", "south"), ("globex", ""), ("globex", "west")]
Keys = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway as it is started, with batches that no worker runs."""
    state: Path = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_STATE", str(state))
        port = free_port()
        app = create(Config(graph=graph(batch_worker={}), policy=policy()))
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            threading.Event().wait(0.01)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def keys(base: str) -> Keys:
    """An owner's key."""
    with httpx.Client(base_url=f"{base}/admin/v1", headers={"Authorization": f"Bearer {admin_key()}"}) as admin:
        for tenant in dict(OWNERS):
            admin.post("/tenants", json={"id": tenant}).raise_for_status()
        made = {}
        for tenant, project in OWNERS:
            if project:
                admin.post("/projects", json={"tenant": tenant, "id": project}).raise_for_status()
            about = {"tenant": tenant, **({"project": project} if project else {})}
            made[tenant, project] = admin.post("/keys", json=about).raise_for_status().json()["key"]
    return made


def ask(base: str, key: str, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, base + path, headers={"Authorization": f"Bearer {key}"}, timeout=30, **more)


def response(base: str, key: str) -> str:
    made = ask(base, key, "POST", "/v1/responses", json={"model": "small", "input": "Hi"})
    return str(made.raise_for_status().json()["id"])


def call(base: str, key: str) -> str:
    made = ask(base, key, "POST", "/v1/responses", json={"model": "small", "input": "Hi"})
    return str(made.raise_for_status().headers["x-penstock-call"])


def file(base: str, key: str) -> str:
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "small"}}
    form = {"files": {"file": ("in.jsonl", json.dumps(line))}, "data": {"purpose": "batch"}}
    return str(ask(base, key, "POST", "/v1/files", **form).raise_for_status().json()["id"])


def batch(base: str, key: str) -> str:
    asked = {"input_file_id": file(base, key), "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return str(ask(base, key, "POST", "/v1/batches", json=asked).raise_for_status().json()["id"])


def message_batch(base: str, key: str) -> str:
    params = {"model": "small", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
    asked = {"requests": [{"custom_id": "a", "params": params}]}
    return str(ask(base, key, "POST", "/v1/messages/batches", json=asked).raise_for_status().json()["id"])


KEPT: dict[str, Callable[[str, str], str]] = {
    "response_id": response,
    "file_id": file,
    "batch_id": batch,
    "message_batch_id": message_batch,
    "call": call,
}
"""A path's parameter -> how such a thing is made, and its id."""
SHARED = {"name"}
"""Parameters that name what all share: models."""
ASKED = [
    (method, path, parameter)
    for method, path in OPERATIONS
    for parameter in KEPT
    if f"{{{parameter}}}" in path and (method in ("GET", "DELETE") or path.endswith("/cancel"))
]


def test_every_path_that_names_a_thing_is_known_here() -> None:
    named = {part[1:-1] for _, path in OPERATIONS for part in path.split("/") if part.startswith("{")}
    assert named <= KEPT.keys() | SHARED
    assert len(ASKED) > 7


@pytest.mark.parametrize(("method", "path", "parameter"), ASKED, ids=str)
def test_what_one_owner_made_is_not_there_for_any_other(
    base: str, keys: Keys, method: str, path: str, parameter: str
) -> None:
    for mine in OWNERS:
        made = path.replace(f"{{{parameter}}}", KEPT[parameter](base, keys[mine]))
        for other in OWNERS:
            if other != mine:
                assert 404 == ask(base, keys[other], method, made).status_code, (mine, other)
        if not path.endswith("/results"):  # there are none yet
            assert ask(base, keys[mine], method, made).status_code in (200, 400, 409), mine


def test_lists_and_continuations_are_the_owners_own(base: str, keys: Keys) -> None:
    for mine in OWNERS:
        kept = response(base, keys[mine])
        listed = {"/v1/files": file(base, keys[mine]), "/v1/batches": batch(base, keys[mine])}
        for other in OWNERS:
            right = 200 if other == mine else 400
            body = {"model": "small", "input": "And?", "previous_response_id": kept}
            assert right == ask(base, keys[other], "POST", "/v1/responses", json=body).status_code
            for path, made in listed.items():
                found = [one["id"] for one in ask(base, keys[other], "GET", path).json()["data"]]
                assert (other == mine) == (made in found)


def test_sums_are_the_projects_own_and_the_whole_tenants_for_a_key_without_one(base: str, keys: Keys) -> None:
    def calls(owner: tuple[str, str]) -> int:
        told = ask(base, keys[owner], "GET", "/v1/penstock/usage").json()
        return sum(day["calls"] for day in told["by"]["day"])

    before = {owner: calls(owner) for owner in OWNERS}
    call(base, keys["acme", "north"])
    more = {owner for owner in OWNERS if calls(owner) == before[owner] + 1}
    assert {("acme", "north"), ("acme", "")} == more
    budgets = ask(base, keys["acme", "north"], "GET", "/v1/penstock/usage").json()["budgets"]
    assert not [one for one in budgets if str(one).startswith("tenant") or "tenant:" in json.dumps(one)]


def test_a_kept_answer_is_the_keys_own(base: str, keys: Keys) -> None:
    body = {"model": "small", "input": "Hi"}
    answers = [
        httpx.post(
            f"{base}/v1/responses", json=body, headers={"Authorization": f"Bearer {key}", "Idempotency-Key": "same"}
        )
        for key in keys.values()
    ]
    assert len(keys) == len({answer.json()["id"] for answer in answers})
    assert not [answer for answer in answers if "x-penstock-idempotent-replay" in answer.headers]


NO_IDS = st.text(st.sampled_from("\0\x01\n\r\t\x1b\x7f \u0085\u2028abc-_é\N{PARTY POPPER}"), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(strange=NO_IDS)
def test_an_id_that_is_none_is_not_there_and_never_the_servers_fault(base: str, keys: Keys, strange: str) -> None:
    key = keys["acme", "north"]
    quoted = "".join(f"%{byte:02x}" for byte in strange.encode())
    for method, path, parameter in ASKED:
        assert 404 == ask(base, key, method, path.replace(f"{{{parameter}}}", f"x_{quoted}")).status_code
    body = {"model": "small", "input": "Hi", "previous_response_id": f"resp_{strange}"}
    assert 400 == ask(base, key, "POST", "/v1/responses", json=body).status_code
    for path in ("/v1/files", "/v1/batches"):
        assert ask(base, key, "GET", path, params={"after": strange}).status_code in (200, 400)
