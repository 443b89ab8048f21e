"""The admin API over a real server: who may ask, what it answers, how it refuses."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.admin import install
from app.api.admin.services import Outside
from app.api.headers import Stamp
from app.api.ip_limits import IpLimiter
from app.audit.contents import Contents
from app.billing.ledger.ledger import SqlLedger
from app.db.store import Store
from app.installation.secrets import Secrets
from app.tenancy.admin import AdminService
from app.tenancy.authenticator import Authenticator
from tests.contracts.ledger_kit import START, Clock, row
from tests.examples import examples
from tests.kit import free_port

SECRETS = Secrets("an installation's secret, long enough")
KEY = "sk-admin-test"
NUMBERS = itertools.count()


@dataclass
class Admin:
    """A server of the admin API, a client with its key, and the URL of its database."""

    http: httpx.Client
    database: str
    clock: Clock

    def ask(self, method: str, path: str, body: Any = None, status: int = 200, **query: Any) -> Any:
        answer = self.http.request(method, f"/admin/v1{path}", json=body, params=query or None)
        assert status == answer.status_code, answer.text
        return answer.json()

    def error(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any, Any]:
        answer = self.http.request(method, f"/admin/v1{path}", json=body, params=query or None)
        said = answer.json()["error"]
        assert {"message", "type", "param", "code"} == set(said)
        return answer.status_code, said["code"], said["param"]

    def bill(self, key: str, call: str, cost: str, **changes: Any) -> None:
        async def work() -> None:
            ledger = SqlLedger(self.database, SECRETS, self.clock)
            who = await Authenticator(ledger.store, self.clock).identify(key)
            assert who is not None
            await ledger.settle(replace(row(call, who, cost), project=who.project, created=self.clock(), **changes))
            await ledger.close()

        asyncio.run(work())

    def keep(self, tenant: str, call: str, body: bytes) -> None:
        async def work() -> None:
            store = Store(self.database)
            await Contents(store, SECRETS).keep(tenant, call, START, body)
            await store.close()

        asyncio.run(work())


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    database, clock = f"sqlite:///{tmp_path}/ledger.db", Clock()
    app, door = FastAPI(), IpLimiter(failures_per_minute=5)
    install(
        app,
        AdminService(Store(database), SECRETS, clock),
        KEY,
        door=lambda: door,
        outside=Outside((f"{tmp_path}/out", f"{tmp_path}/old")),
    )
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(Stamp(app), "127.0.0.1", port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as http:
        yield Admin(http, database, clock)
    server.should_exit = True
    thread.join(10)


# -- who may ask ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": KEY}, {"Authorization": "Bearer"}, {"Authorization": f"Basic {KEY}"}, {"x-api-key": KEY}],
)
def test_without_the_key_as_a_bearer_nothing_is_answered(admin: Admin, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{admin.http.base_url}/admin/v1/tenants", headers=headers)
    assert (401, "invalid_api_key") == (answer.status_code, answer.json()["error"]["code"])


def test_a_tenants_key_does_not_open_the_admin_api(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    key = admin.ask("POST", "/keys", {"tenant": "acme"})["key"]
    answer = admin.http.get("/admin/v1/tenants", headers={"Authorization": f"Bearer {key}"})
    assert 401 == answer.status_code


def test_every_route_wants_the_key(admin: Admin) -> None:
    from app.api.admin import audit, cache, keys, money, tenants, webhooks

    routes = [route for part in (tenants, keys, money, audit, webhooks, cache) for route in part.router.routes]
    assert len(routes) > 30
    statuses = set()
    for route in routes:
        for method in route.methods:  # type: ignore[attr-defined]
            url = f"{admin.http.base_url}/admin/v1{route.path}"  # type: ignore[attr-defined]
            statuses.add(httpx.request(method, url).status_code)
    assert {401, 429} == statuses  # five wrong keys from one address close the door


def test_an_address_that_guesses_is_shut_out_even_with_the_right_key(admin: Admin) -> None:
    wrong = {"Authorization": "Bearer sk-guess"}
    assert [401] * 5 + [429] == [admin.http.get("/admin/v1/plans", headers=wrong).status_code for _ in range(6)]
    assert (429, "rate_limit_exceeded", None) == admin.error("GET", "/plans")


# -- tenants, projects, plans ----------------------------------------------------------------------


def test_a_tenants_life(admin: Admin) -> None:
    made = admin.ask("POST", "/tenants", {"id": "acme", "name": "Acme", "plan": "free", "terms": {"budget": "2.50"}})
    assert made == {
        "id": "acme", "object": "tenant", "name": "Acme", "plan": "free", "terms": {"budget": "2.50"},
        "paused": False, "paused_until": None, "paused_why": None, "keeps_content": False, "erased_at": None,
        "created_at": START,
    }  # fmt: skip
    assert made == admin.ask("GET", "/tenants/acme")
    changed = admin.ask("PATCH", "/tenants/acme", {"terms": {"requests_per_minute": 5}})
    assert ({"requests_per_minute": 5}, "Acme", "free") == (changed["terms"], changed["name"], changed["plan"])
    paused = admin.ask("POST", "/tenants/acme/pause", {"why": "unpaid"})
    assert (True, None, "unpaid") == (paused["paused"], paused["paused_until"], paused["paused_why"])
    assert made | {"terms": changed["terms"]} == admin.ask("POST", "/tenants/acme/resume")


def test_a_pause_with_an_end_is_over_at_its_end(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    paused = admin.ask("POST", "/tenants/acme/pause", {"why": "a minute", "until": START + 60})
    assert (True, START + 60) == (paused["paused"], paused["paused_until"])
    admin.clock.now += 60
    assert not admin.ask("GET", "/tenants/acme")["paused"]


def test_lists_come_in_pages(admin: Admin) -> None:
    for name in ("c", "a", "b"):
        admin.ask("POST", "/tenants", {"id": name})
    first = admin.ask("GET", "/tenants", limit=2)
    assert (["a", "b"], True) == ([one["id"] for one in first["data"]], first["has_more"])
    rest = admin.ask("GET", "/tenants", limit=2, after="b")
    assert (["c"], False) == ([one["id"] for one in rest["data"]], rest["has_more"])


def test_plans_are_listed_and_changed(admin: Admin) -> None:
    assert {"free", "pay-as-you-go", "enterprise"} == {one["id"] for one in admin.ask("GET", "/plans")["data"]}
    terms = {"requests_per_minute": 1, "per_model": {"large": {"tokens_per_day": 10}}}
    assert terms == admin.ask("PUT", "/plans/free", {"terms": terms})["terms"]
    assert terms in [one["terms"] for one in admin.ask("GET", "/plans")["data"]]


def test_a_projects_life(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    made = admin.ask("POST", "/projects", {"tenant": "acme", "id": "web", "terms": {"budget": 1}})
    assert ("project", "acme", False) == (made["object"], made["tenant"], made["archived"])
    assert admin.ask("PATCH", "/projects/web", {"archived": True})["archived"]
    assert ["web"] == [one["id"] for one in admin.ask("GET", "/projects", tenant="acme")["data"]]
    assert [] == admin.ask("GET", "/projects", tenant="globex")["data"]
    assert "1.000000000" == admin.ask("GET", "/budgets/project:web")["budget"]


# -- keys ----------------------------------------------------------------------------------------


def test_a_key_is_in_the_answer_that_made_it_and_in_no_other(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    made = admin.ask("POST", "/keys", {"tenant": "acme", "name": "ci", "scopes": ["models", "chat"]})
    assert made["key"].startswith(made["prefix"].removesuffix("..."))
    assert ["chat", "models"] == made["scopes"]
    others = (admin.ask("GET", "/keys"), admin.ask("GET", f"/keys/{made['id']}"), admin.ask("GET", "/audit"))
    assert made["key"] not in json.dumps(others)
    assert "live" == others[1]["state"]


def test_a_keys_life(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    key = admin.ask("POST", "/keys", {"tenant": "acme", "expires_at": START + 100})["id"]
    assert (START + 100, "") == (
        admin.ask("GET", f"/keys/{key}")["expires_at"],
        admin.ask("GET", f"/keys/{key}")["name"],
    )
    assert admin.ask("PATCH", f"/keys/{key}", {"expires_at": None})["expires_at"] is None
    new = admin.ask("POST", f"/keys/{key}/rotate", {"overlap_seconds": 60})
    assert new["id"] != key
    assert START + 60 == admin.ask("GET", f"/keys/{key}")["expires_at"]
    admin.clock.now += 60
    assert "expired" == admin.ask("GET", f"/keys/{key}")["state"]
    assert "disabled" == admin.ask("POST", f"/keys/{new['id']}/disable")["state"]
    assert (409, "conflict", None) == admin.error("POST", f"/keys/{new['id']}/rotate", {})
    assert "disabled" == admin.ask("POST", f"/keys/{new['id']}/reinstate")["state"]


# -- money ---------------------------------------------------------------------------------------


def test_a_budget_is_set_and_shown_as_decimal_strings(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    key = admin.ask("POST", "/keys", {"tenant": "acme"})["key"]
    admin.bill(key, "call", "0.000000001")
    done = admin.ask("PUT", "/budgets/tenant:acme", {"budget": "123456789.000000001", "period": "month"})
    assert ("123456789.000000001", "0.000000001", "123456789.000000000") == (
        done["budget"], done["period_spent"], done["left"],
    )  # fmt: skip
    assert done in admin.ask("GET", "/budgets", tenant="acme")["data"]
    assert admin.ask("PUT", "/budgets/tenant:acme", {"budget": None})["left"] is None


def test_usage_is_listed_and_summed(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    key = admin.ask("POST", "/keys", {"tenant": "acme"})
    for number in range(3):
        admin.bill(key["key"], f"call-{number}", "0.5", output_cost=Decimal("0.5"), goods=Decimal("0.2"))
    page = admin.ask("GET", "/usage", limit=2, key=key["id"])
    assert (2, True, "0.500000000") == (len(page["data"]), page["has_more"], page["data"][0]["cost"])
    assert "trail" not in page["data"][0]
    (summed,) = admin.ask("GET", "/usage/summary", by="tenant")["data"]
    assert ("acme", 3, "1.500000000", "0.600000000", "0.900000000", "0.6000") == (
        summed["group"], summed["calls"], summed["revenue"], summed["goods"], summed["margin"], summed["margin_share"],
    )  # fmt: skip
    assert [] == admin.ask("GET", "/usage/summary", by="day", since=START + 1)["data"]


def test_an_invoice_comes_in_three_formats(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme", "name": "<Acme>"})
    key = admin.ask("POST", "/keys", {"tenant": "acme"})["key"]
    admin.bill(key, "call", "0.25", input_cost=Decimal("0.25"))
    path = f"/admin/v1/invoices/acme/{datetime.fromtimestamp(START, UTC):%Y-%m}"
    drawn = {form: admin.http.get(path, params={"format": form}) for form in ("json", "csv", "html")}
    assert "0.250000000" == drawn["json"].json()["total"]["amount"]
    assert ["acme"] == [line["tenant"] for line in csv.DictReader(drawn["csv"].text.splitlines())]
    assert "&lt;Acme&gt;" in drawn["html"].text
    assert drawn["html"].headers["content-type"].startswith("text/html")
    assert (400, "invalid_value", None) == admin.error("GET", "/invoices/acme/2026-13")
    assert (404, "not_found", None) == admin.error("GET", "/invoices/nobody/2026-01")


# -- proof, telling --------------------------------------------------------------------------------


def test_what_an_admin_does_is_in_the_chain_and_the_chain_holds(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    key = admin.ask("POST", "/keys", {"tenant": "acme"})
    admin.bill(key["key"], "call", "1")
    found = admin.ask("GET", "/audit", chain="acme")["data"]
    assert ["call", "key.create", "tenant.create"] == [one["kind"] for one in found]
    assert "admin" == found[1]["actor"]
    assert admin.ask("GET", "/audit", kind="call", limit=1)["data"] == found[:1]
    done = admin.ask("GET", "/audit/verify")
    assert (True, 1, 3, []) == (done["ok"], done["chains"], done["records"], done["faults"])


def test_a_changed_row_is_told_by_verify(admin: Admin) -> None:
    import sqlite3

    admin.ask("POST", "/tenants", {"id": "acme"})
    with sqlite3.connect(admin.database.removeprefix("sqlite:///")) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET actor = 'nobody'")
    done = admin.ask("GET", "/audit/verify", chain="acme")
    assert not done["ok"]
    assert ("acme", 1) == (done["faults"][0]["chain"], done["faults"][0]["seq"])


def test_an_export_verifies_and_a_prune_says_what_it_took(admin: Admin, tmp_path: Path) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    done = admin.ask("POST", "/audit/export", {"to": f"{tmp_path}/out"})
    assert (1, 1) == (done["files"], done["records"])
    assert admin.ask("POST", "/audit/verify-export", {"url": f"{tmp_path}/out"})["ok"]
    assert 0 == admin.ask("POST", "/audit/prune", {"to": f"{tmp_path}/old"})["records"]


def test_a_webhooks_secret_is_shown_when_made_and_when_rotated(admin: Admin) -> None:
    made = admin.ask("POST", "/webhooks", {"url": "https://93.184.216.34:9/hook", "events": ["budget.threshold"]})
    assert made["secret"].startswith("whsec_")
    assert made["secret"] != admin.ask("POST", f"/webhooks/{made['id']}/rotate")["secret"]
    (listed,) = admin.ask("GET", "/webhooks")["data"]
    assert ("https://93.184.216.34:9/hook", ["budget.threshold"]) == (listed["url"], listed["events"])
    assert "secret" not in listed
    assert admin.ask("DELETE", f"/webhooks/{made['id']}")["deleted"]
    assert [] == admin.ask("GET", "/webhooks")["data"]
    assert (404, "not_found", None) == admin.error("DELETE", f"/webhooks/{made['id']}")
    assert (400, "invalid_value", None) == admin.error("POST", "/webhooks", {"url": "ftp://host/"})


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:22/", "http://169.254.169.254/latest", "http://[::1]:8000/", "http://0/", "http://10.0.0.1/",
     "http://localhost:8265/", "http://127.1/", "http://2130706433/", "http://[::ffff:10.0.0.1]/", "http://[fe80::1]/"],
)  # fmt: skip
def test_a_webhook_into_a_private_network_is_refused_with_the_setting_that_allows_it(admin: Admin, url: str) -> None:
    assert (400, "invalid_value", None) == admin.error("POST", "/webhooks", {"url": url})
    assert [] == admin.ask("GET", "/webhooks")["data"]


@pytest.mark.parametrize(
    "to",
    ["/etc/out", "{}/outside", "{}/out/../more", "file://{}/out/%2e%2e/x", "memory://out", "simplecache::file://{}/out",
     "github://user:pw@org/repo", "http://host/x", "reference://x", "out", "../../out", "file://host{}/out", ""],
)  # fmt: skip
def test_an_export_outside_the_configured_folders_is_neither_written_nor_looked_at(
    admin: Admin, tmp_path: Path, to: str
) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    place = to.format(tmp_path)
    for path, said in (("export", {"to": place}), ("prune", {"to": place}), ("verify-export", {"url": place})):
        assert 400 == admin.error("POST", f"/audit/{path}", said)[0]
    assert ["ledger.db"] == sorted(one.name for one in tmp_path.iterdir() if "-" not in one.name)


def test_a_notice_is_listed_with_what_became_of_it(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme", "terms": {"budget": "1"}})
    key = admin.ask("POST", "/keys", {"tenant": "acme"})["key"]
    admin.bill(key, "call", "0.9")
    told = admin.ask("GET", "/notices", tenant="acme")["data"]
    assert {"budget.threshold"} == {one["kind"] for one in told}
    assert {"80", "50"} >= {str(one["data"]["percent"]) for one in told}
    assert [] == told[0]["deliveries"]


def test_who_reads_what_was_said_in_a_call_is_recorded(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    key = admin.ask("POST", "/keys", {"tenant": "acme"})["key"]
    admin.ask("PUT", "/tenants/acme/content", {"keep": True})
    admin.bill(key, "call", "1")
    admin.keep("acme", "call", b'{"said": "hello"}')
    assert {"said": "hello"} == admin.ask("GET", "/contents/call")
    (record,) = admin.ask("GET", "/audit", kind="content.read")["data"]
    assert ("acme", "call", "admin") == (record["chain"], record["subject"], record["actor"])
    assert (404, "not_found", None) == admin.error("GET", "/contents/another")


def test_an_api_with_another_secret_changes_nothing(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    app = FastAPI()
    install(app, AdminService(Store(admin.database), Secrets("another installation's secret, as long")), KEY)

    async def ask(method: str, path: str, body: Any = None) -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://admin", headers=admin.http.headers) as http:
            return (await http.request(method, f"/admin/v1{path}", json=body)).status_code

    for method, path, body in (
        ("PUT", "/tenants/acme/content", {"keep": True}),
        ("POST", "/tenants/acme/erase", {"confirm": "acme"}),
        ("POST", "/webhooks", {"url": "http://127.0.0.1:9"}),
        ("POST", "/keys", {"tenant": "acme"}),
    ):
        assert 400 == asyncio.run(ask(method, path, body))
    assert 200 == asyncio.run(ask("GET", "/tenants"))
    assert ["tenant.create"] == [one["kind"] for one in admin.ask("GET", "/audit")["data"]]


def test_an_erased_tenant_keeps_its_bill_and_loses_its_name(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme", "name": "Ada Lovelace"})
    key = admin.ask("POST", "/keys", {"tenant": "acme", "name": "Ada's"})["key"]
    admin.bill(key, "call", "1")
    assert admin.ask("PUT", "/tenants/acme/content", {"keep": True})["keeps_content"]
    assert (400, "invalid_value", "confirm") == admin.error("POST", "/tenants/acme/erase", {"confirm": "globex"})
    assert 1 == admin.ask("POST", "/tenants/acme/erase", {"confirm": "acme"})["keys"]
    shown = (admin.ask("GET", "/tenants/acme"), admin.ask("GET", "/keys"), admin.ask("GET", "/audit"))
    assert START == shown[0]["erased_at"]
    assert "Ada" not in json.dumps(shown)
    assert "1.000000000" == admin.ask("GET", "/usage")["data"][0]["cost"]
    assert admin.ask("GET", "/audit/verify")["ok"]
    assert (409, "conflict", None) == admin.error("POST", "/keys", {"tenant": "acme"})
    assert (404, "not_found", None) == admin.error("POST", "/tenants/nobody/erase", {"confirm": "nobody"})


# -- how it refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/tenants", {}, (400, "missing_required_parameter", "id")),
        ("POST", "/tenants", [], (400, "invalid_json", None)),
        ("POST", "/tenants", {"id": 7}, (400, "invalid_type", "id")),
        ("POST", "/tenants", {"id": "a b"}, (400, "invalid_value", None)),
        ("POST", "/tenants", {"id": "a", "colour": "red"}, (400, "unknown_parameter", "colour")),
        ("POST", "/tenants", {"id": "a", "name": "a\0b"}, (400, "invalid_value", "name")),
        ("POST", "/tenants", {"id": "a", "plan": "gold"}, (404, "not_found", None)),
        ("POST", "/tenants", {"id": "a", "terms": {"rpm": 1}}, (400, "unknown_parameter", "terms.rpm")),
        (
            "POST",
            "/tenants",
            {"id": "a", "terms": {"requests_per_minute": "5"}},
            (400, "invalid_type", "terms.requests_per_minute"),
        ),
        (
            "POST",
            "/tenants",
            {"id": "a", "terms": {"per_model": {"large": {"tokens_per_day": 0}}}},
            (400, "invalid_value", "terms.per_model.large.tokens_per_day"),
        ),
        (
            "POST",
            "/tenants",
            {"id": "a", "terms": {"safety": {"personal": "mask"}}},
            (400, "invalid_value", "terms.safety.personal"),
        ),
        (
            "POST",
            "/tenants",
            {"id": "a", "terms": {"safety": {"pii": 1}}},
            (400, "unknown_parameter", "terms.safety.pii"),
        ),
        ("PATCH", "/tenants/nobody", {"name": "x"}, (404, "not_found", None)),
        ("PATCH", "/tenants/nobody", {"id": "x"}, (400, "unknown_parameter", "id")),
        ("POST", "/keys", {"tenant": "nobody"}, (404, "not_found", None)),
        ("POST", "/keys", {"tenant": "acme", "scopes": [7]}, (400, "invalid_type", "scopes[0]")),
        ("POST", "/keys/key_0/rotate", {"overlap_seconds": -1}, (400, "invalid_value", "overlap_seconds")),
        ("POST", "/keys/key_0/disable", None, (404, "not_found", None)),
        ("PUT", "/budgets/tenant:nobody", {"budget": "1"}, (404, "not_found", None)),
        ("PUT", "/budgets/tenant:nobody", {}, (400, "missing_required_parameter", "budget")),
        ("PUT", "/budgets/tenant:nobody", {"budget": "1e-10"}, (400, "invalid_value", "budget")),
        ("PUT", "/budgets/tenant:nobody", {"budget": "NaN"}, (400, "invalid_value", "budget")),
        ("PUT", "/budgets/tenant:nobody", {"budget": 1, "period": "year"}, (400, "invalid_value", "period")),
        ("GET", "/usage?limit=0", None, (400, "invalid_value", "limit")),
        ("GET", "/usage?colour=red", None, (400, "unknown_parameter", "colour")),
        ("GET", "/usage?after=nothing", None, (404, "not_found", None)),
        ("GET", "/usage/summary?by=colour", None, (400, "invalid_value", "by")),
        ("GET", "/tenants/a%00b", None, (400, "invalid_value", None)),
        ("GET", "/keys?tenant=a%00b", None, (400, "invalid_value", None)),
        ("GET", "/audit/verify?chain=nobody", None, (404, "not_found", None)),
        ("GET", "/nothing", None, (404, "unknown_url", None)),
        ("DELETE", "/tenants/acme", None, (405, "method_not_allowed", None)),
    ],
)
def test_bad_input_is_refused_in_openais_shape_with_its_field(
    admin: Admin, method: str, path: str, body: Any, expected: tuple[int, Any, Any]
) -> None:
    assert expected == admin.error(method, path, body)


def test_a_tenant_made_twice_is_a_conflict(admin: Admin) -> None:
    admin.ask("POST", "/tenants", {"id": "acme"})
    assert (409, "conflict", None) == admin.error("POST", "/tenants", {"id": "acme"})


@pytest.mark.parametrize("sent", [b"{", b"\xff", b"[" * 100_000, b'{"id": NaN}'])
def test_what_is_not_json_is_said_to_be_so(admin: Admin, sent: bytes) -> None:
    answer = admin.http.post("/admin/v1/tenants", content=sent)
    assert 400 == answer.status_code
    assert answer.json()["error"]["code"] in {"invalid_json", "invalid_type"}


def test_a_database_that_is_gone_is_our_fault_and_worth_a_retry(admin: Admin) -> None:
    admin.ask("GET", "/plans")
    Path(admin.database.removeprefix("sqlite:///")).write_bytes(b"no database" * 1000)
    answer = admin.http.get("/admin/v1/keys")
    assert (503, "ledger_unavailable") == (answer.status_code, answer.json()["error"]["code"])
    assert "retry-after" in answer.headers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(terms=JSON | st.dictionaries(st.sampled_from(["budget", "burst", "models", "per_model", "regions"]), JSON))
def test_no_terms_whatever_they_are_break_the_server(admin: Admin, terms: Any) -> None:
    sent = json.dumps({"id": f"tenant-{next(NUMBERS)}", "terms": terms}).encode("utf-8", "replace")
    answer = admin.http.post("/admin/v1/tenants", content=sent)
    assert answer.status_code in {200, 400}, answer.text
