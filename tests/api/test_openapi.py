"""`/openapi.json`: it names every route, real answers fit it, and what it allows is answered as it says.

Over the whole app with its real house (a real database, a real tokenizer); only the models are fakes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.openapi.document import served
from app.api.openapi.operations import OPERATIONS
from app.config import Config
from app.installation.paths import admin_key
from graphs.local import create
from tests.kit import free_port, graph, policy
from tests.words import vocabulary

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODELS = {"/v1/embeddings": "embedding", "/v1/moderations": "moderation"}
EXAMPLES = 30
POSTS = [path for (method, path), one in OPERATIONS.items() if method == "POST" and one.example]
GETS = [path for method, path in OPERATIONS if method == "GET"]
STREAMS = [path for path in POSTS if OPERATIONS["POST", path].event]


@dataclass
class Site:
    url: str
    app: FastAPI
    headers: dict[str, str]
    document: dict[str, Any]

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers=self.headers, timeout=30)

    def said(self, path: str) -> Any:
        return self.document["paths"][path]["post"]

    def example(self, path: str) -> dict[str, Any]:
        example: dict[str, Any] = self.said(path)["requestBody"]["content"]["application/json"]["example"]
        return {**example, "input_file_id": self.upload()["id"]} if "input_file_id" in example else example

    def upload(self) -> dict[str, Any]:
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
        line["body"] = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
        form = {"files": {"file": ("in.jsonl", json.dumps(line))}, "data": {"purpose": "batch"}}
        sent = httpx.post(f"{self.url}/v1/files", headers=self.headers, **form).raise_for_status().json()
        assert isinstance(sent, dict)
        return sent

    def ended(self, path: str) -> None:
        """Wait until the batch of messages there has ended."""
        for _ in range(400):
            if httpx.get(self.url + path, headers=self.headers).json()["processing_status"] == "ended":
                return
            time.sleep(0.05)
        raise AssertionError(path)

    def fits(self, body: Any, schema: dict[str, Any]) -> None:
        Draft202012Validator({**schema, "components": self.document["components"]}).validate(body)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state, port = tmp_path_factory.mktemp("state"), free_port()
    vocabulary(state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_STATE", str(state))
        app = create(
            Config(
                graph=graph(tokenizer=f"path:{state}", batch_worker={}),
                policy=policy(ip_limits={"failures_per_minute": 0}),
            )
        )
        routes: Any = app
        while not isinstance(routes, FastAPI):
            routes = routes._app
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            threading.Event().wait(0.01)
        url, admin = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {admin_key()}"}
        httpx.post(f"{url}/admin/v1/tenants", json={"id": "acme"}, headers=admin).raise_for_status()
        key = httpx.post(f"{url}/admin/v1/keys", json={"tenant": "acme"}, headers=admin).raise_for_status().json()
        headers = {"Authorization": f"Bearer {key['key']}"}
        yield Site(url, routes, headers, httpx.get(f"{url}/openapi.json").json())
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def api(site: Site) -> Any:
    return schemathesis.openapi.from_url(f"{site.url}/openapi.json")


def test_every_route_of_the_api_is_described(site: Site) -> None:
    routes = {(method, path) for path, method in served(site.app) if path.startswith("/v1/")}
    assert {("POST", "/v1/chat/completions"), ("GET", "/v1/models/{name}")} <= routes
    assert routes - set(OPERATIONS) == set()


def test_what_is_described_is_there(site: Site) -> None:
    described = {(method.upper(), path) for path, methods in site.document["paths"].items() for method in methods}
    assert set(OPERATIONS) == described


def test_the_document_is_a_valid_one_and_every_reference_leads_somewhere(site: Site, api: Any) -> None:
    api.validate()
    refs = {part.split('"', 1)[0] for part in json.dumps(site.document).split('"$ref": "')[1:]}
    assert {f"#/components/schemas/{name}" for name in site.document["components"]["schemas"]} >= refs > set()


@pytest.mark.parametrize("path", POSTS)
def test_the_example_of_each_request_is_answered_as_described(site: Site, path: str) -> None:
    answer = site.post(path, **site.example(path))
    assert 200 == answer.status_code, answer.text
    described = site.said(path)["responses"]["200"]
    site.fits(answer.json(), described["content"]["application/json"]["schema"])
    always = {"date", "server", "content-length", "content-type"}
    assert set(answer.headers) - {*described["headers"], *always} == set()


@pytest.mark.parametrize("path", STREAMS)
def test_every_event_of_a_stream_is_as_described(site: Site, path: str) -> None:
    answer = site.post(path, **site.example(path), stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    schema = site.said(path)["responses"]["200"]["content"]["text/event-stream"]["schema"]
    shape = schema["properties"]["data"]["anyOf"][-1]["contentSchema"]["anyOf"][0]
    for event in events:
        if event != "[DONE]":
            site.fits(json.loads(event), shape)
    assert len(events) > 2


@pytest.mark.parametrize("path", POSTS)
def test_each_error_is_as_described(site: Site, path: str) -> None:
    wrong = httpx.post(site.url + path, content=b"{", headers=site.headers)
    nobody = httpx.post(site.url + path, json={})
    for status, answer in ((400, wrong), (401, nobody)):
        assert status == answer.status_code
        site.fits(answer.json(), site.said(path)["responses"][str(status)]["content"]["application/json"]["schema"])


def test_what_is_kept_is_read_as_described(site: Site) -> None:
    file = site.upload()
    batch = site.post("/v1/batches", **{**site.example("/v1/batches"), "input_file_id": file["id"]}).json()
    messages = site.post("/v1/messages/batches", **site.example("/v1/messages/batches")).json()
    stored = site.post("/v1/responses", **site.example("/v1/responses")).json()
    call = site.post("/v1/chat/completions", **site.example("/v1/chat/completions")).headers["x-penstock-call"]
    ids = {"file_id": file["id"], "batch_id": batch["id"], "response_id": stored["id"], "call": call, "name": "auto"}
    ids["message_batch_id"] = messages["id"]
    site.ended(f"/v1/messages/batches/{messages['id']}")
    site.fits(file, {"$ref": "#/components/schemas/FileObject"})
    for path in GETS:
        answer = httpx.get(site.url + path.format(**ids), headers=site.headers)
        assert 200 == answer.status_code, path
        described = site.document["paths"][path]["get"]["responses"]["200"]["content"]
        (kind, content) = next(iter(described.items()))
        assert answer.headers["content-type"].startswith(kind)
        if kind == "application/json":
            site.fits(answer.json(), content["schema"])


def run(case: Case, site: Site, checks: list[Any]) -> int:
    case.headers = {**(case.headers or {}), **site.headers}
    answer = case.call(base_url=site.url)
    if answer.status_code == 413:  # the body's limit speaks before its fields are read
        checks = [check for check in checks if check is not negative_data_rejection]
    case.validate_response(answer, checks=checks)
    return int(answer.status_code)


def quick(test: Any) -> Any:
    """Bounded, and the same at every run."""
    return settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )(test)


@pytest.mark.slow
@pytest.mark.parametrize("path", POSTS)
def test_what_the_document_allows_is_answered_as_it_says(api: Any, site: Site, path: str) -> None:
    operation = api[path]["POST"]
    statuses = []

    @quick
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE), known=st.booleans())
    def check(case: Case, known: bool) -> None:
        if known and isinstance(case.body, dict) and "model" in case.body:
            # what no schema can say (a model that there is, an input) is taken from the documented example
            case.body = {**site.example(path), **case.body, "model": MODELS.get(path, "auto")}
        statuses.append(run(case, site, CHECKS))

    check()
    assert (200 if path != "/v1/batches" else 404) in statuses


@pytest.mark.slow
@pytest.mark.parametrize("path", POSTS)
def test_what_the_document_forbids_is_refused(api: Any, site: Site, path: str) -> None:
    operation = api[path]["POST"]

    @quick
    @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def check(case: Case) -> None:
        run(case, site, [*CHECKS, negative_data_rejection])

    check()


@pytest.mark.parametrize("path", GETS)
def test_what_is_read_is_as_described(api: Any, site: Site, path: str) -> None:
    operation = api[path]["GET"]

    @quick
    @given(case=operation.as_strategy())
    def check(case: Case) -> None:
        run(case, site, CHECKS)

    check()
