"""The command line: what it prints, how it fails."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from fastapi import FastAPI
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from app.api.admin import install
from app.billing.ledger.ledger import SqlLedger
from app.config import load_file
from app.config.stage_order import running
from app.db.schema import tenants
from app.db.store import Store
from app.installation.paths import database_url
from app.installation.secrets import Secrets
from app.tenancy.admin import AdminService
from app.tenancy.authenticator import Authenticator
from graphs.cli import app
from tests.contracts.ledger_kit import row
from tests.kit import Kit, free_port, serving

ROOT = Path(__file__).parents[2]
LOCAL = str(ROOT / "configs" / "local.yaml")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PENSTOCK_URL", raising=False)
    monkeypatch.chdir(ROOT)


def penstock(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=stdin)


def edited(tmp_path: Path, **args: object) -> str:
    document = yaml.safe_load(Path(LOCAL).read_text())
    document["applications"][0]["args"].update(args)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    return str(tmp_path / "c.yaml")


def test_a_good_config_is_said_to_be_good() -> None:
    done = penstock("config", "check", LOCAL)
    assert done.exit_code == 0
    assert "good. 10 stages, 3 tiers, 2 pools." in done.output


def test_a_bad_config_exits_with_2_and_names_the_key(tmp_path: Path) -> None:
    done = penstock("config", "check", edited(tmp_path, encodr={}))
    assert done.exit_code == 2
    assert "args.encodr: unknown key: choose from batch_worker, cache, complexity, encoder" in done.output


def test_the_schema_names_every_key_of_graph_and_policy() -> None:
    schema = json.loads(penstock("config", "schema").output)
    assert "pools" in schema["args"]["properties"]
    assert "stages" in schema["user_config"]["properties"]


def test_the_graph_is_drawn_in_the_order_a_call_passes() -> None:
    drawn = penstock("graph", LOCAL).output
    stages = running(load_file(LOCAL).policy)
    assert {"overlap", "screen", "confide", "leak"} < set(stages)
    places = [drawn.index(f"─ {stage}") for stage in stages]
    assert places == sorted(places)
    assert "smol-a: smollm2-135m-instruct [vllm, local]" in drawn


def test_mermaid_has_every_stage_and_pool() -> None:
    drawn = penstock("graph", LOCAL, "--mermaid").output
    assert drawn.startswith("flowchart LR")
    assert "admit --> overlap\n    overlap --> scrub" in drawn
    assert "gate -.-> guard" not in drawn
    assert "screen -.-> moderator" in drawn
    assert 'generate == small ==> pool_smol_a["smol-a<br/>smollm2-135m-instruct"]' in drawn


def test_a_key_is_shown_once_and_listed_without_itself() -> None:
    key = penstock("keys", "create", "acme", "--rpm", "60").output.strip()
    listed = penstock("keys", "list").output
    assert key.startswith("sk-")
    assert "acme" in listed
    assert "60" in listed
    assert key not in listed


def test_a_list_cuts_no_id_off_however_narrow_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    key = answer("keys", "create", "a-tenant-with-a-long-name", "--name", "a name that needs a line of its own")["id"]
    assert key in penstock("keys", "list").output


def test_a_disabled_key_is_listed_as_such() -> None:
    penstock("keys", "create", "acme")
    key_id = next(word for word in penstock("keys", "list").output.split() if word.startswith("key_"))
    assert penstock("keys", "disable", key_id).exit_code == 0
    assert "disabled" in penstock("keys", "list").output


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "file" / "state"))
    done = penstock("keys", "list")
    assert done.exit_code == 2
    assert "cannot make the state folder" in done.output
    assert "Set PENSTOCK_STATE" in done.output


def test_serve_says_that_its_port_is_taken_and_how_to_mend_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        document = yaml.safe_load(Path(LOCAL).read_text())
        document["http_options"]["port"] = taken.getsockname()[1]
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
        done = penstock("serve", str(tmp_path / "c.yaml"))
    assert done.exit_code == 1
    assert "is taken: stop what listens there, or set another with http_options.port" in done.output


def test_serve_says_that_there_is_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**30))
    document = yaml.safe_load(Path(LOCAL).read_text())
    document["http_options"]["port"] = free_port()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    done = penstock("serve", str(tmp_path / "c.yaml"), "--dashboard-port", str(free_port()))
    assert done.exit_code == 1
    assert "GiB of memory are needed and 1.0 GiB are free" in done.output


def test_chat_streams_answers_and_shows_what_happened() -> None:
    kit = Kit()
    with serving(kit.gateway()) as url:
        done = penstock("chat", "--url", url, "--key", "sk-test", stdin="hello\nidiot\n")
        refused = penstock("chat", "--url", url, "--key", "sk-wrong", stdin="hello\n")
    assert "You said: hello" in done.output
    assert "tier small, pool a, cache miss" in done.output
    assert "stopped by the moderator" in done.output
    assert "401" in refused.output


# -- the business --------------------------------------------------------------------------------


def answer(*words: str) -> Any:
    """What a command prints with --json."""
    done = penstock(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def bill(key: str, call: str, cost: str, **changes: Any) -> None:
    """Settle a call of this key's on the machine's own ledger."""

    async def work() -> None:
        ledger = SqlLedger(database_url(None), Secrets.load())
        who = await Authenticator(ledger.store).identify(key)
        assert who is not None
        await ledger.settle(replace(row(call, who, cost), **changes))
        await ledger.close()

    asyncio.run(work())


def test_usage_shows_calls_as_they_were_billed() -> None:
    key = penstock("keys", "create", "acme").output.strip()
    bill(key, "chatcmpl-1", "0.000000001")
    shown = penstock("usage", "--tenant", "acme").output
    assert "chatcmpl-1" in shown
    assert "0.000000001" in shown
    assert "chatcmpl-" not in penstock("usage", "--tenant", "globex").output


def test_usage_by_tenant_shows_revenue_goods_and_gross_margin() -> None:
    for tenant, cost in (("acme", "2"), ("globex", "1")):
        key = penstock("keys", "create", tenant).output.strip()
        bill(key, f"call of {tenant}", cost, output_cost=Decimal(cost), goods=Decimal("0.5"))
    shown = penstock("usage", "--by", "tenant").output
    for word in ("acme", "2.00", "0.50", "1.50", "75.0", "globex", "50.0"):
        assert word in shown
    assert ["2023-11-14"] == [one["group"] for one in answer("usage", "--by", "day")["data"]]
    assert [] == answer("usage", "--by", "day", "--since", "7d")["data"]


def test_a_key_alone_is_on_stdout_so_that_a_script_can_take_it() -> None:
    done = penstock("keys", "create", "acme", "--rpm", "60", "--tpm", "1000")
    assert re.fullmatch(r"sk-[\w-]{43}\n", done.stdout)
    (made,) = answer("keys", "list")["data"]
    assert {"requests_per_minute": 60, "tokens_per_minute": 1000} == made["terms"]


def test_a_key_is_made_with_all_that_can_be_said_of_it() -> None:
    penstock("tenants", "create", "acme", "--plan", "free")
    penstock("projects", "create", "acme", "web")
    made = answer(
        "keys", "create", "acme", "--project", "web", "--name", "ci", "--scopes", "chat,models", "--rpd", "5",
        "--tpd", "0", "--concurrent", "2", "--budget", "1.5", "--period", "day", "--expires", "2099-01-01",
        "--terms", '{"models": ["small"]}',
    )  # fmt: skip
    assert ("web", "ci", ["chat", "models"], 4070908800.0) == (
        made["project"], made["name"], made["scopes"], made["expires_at"],
    )  # fmt: skip
    assert made["terms"] == {
        "models": ["small"], "requests_per_day": 5, "tokens_per_day": None, "concurrent_requests": 2,
        "budget": "1.5", "budget_period": "day",
    }  # fmt: skip


def test_an_update_changes_what_is_named_and_nothing_else() -> None:
    penstock("tenants", "create", "acme", "--rpm", "5", "--name", "Acme")
    done = answer("tenants", "update", "acme", "--tpm", "9")
    assert ("Acme", {"requests_per_minute": 5, "tokens_per_minute": 9}) == (done["name"], done["terms"])
    key = answer("keys", "create", "acme", "--rpm", "5", "--name", "ci")["id"]
    before = time.time()
    done = answer("keys", "update", key, "--expires", "1h")
    assert ("ci", {"requests_per_minute": 5}) == (done["name"], done["terms"])
    assert before <= done["expires_at"] - 3600 <= time.time()


def test_a_rotated_key_ends_after_the_overlap() -> None:
    old = answer("keys", "create", "acme")
    before = time.time()
    new = penstock("keys", "rotate", old["id"], "--overlap", "24h").output.strip()
    assert new.startswith("sk-")
    assert new != old["key"]
    (first, second) = answer("keys", "list")["data"]
    assert before <= first["expires_at"] - 86_400 <= time.time()
    assert second["expires_at"] is None


def test_a_paused_tenant_is_listed_as_such_until_it_is_resumed() -> None:
    penstock("tenants", "create", "acme")
    penstock("tenants", "pause", "acme", "--why", "unpaid [3 months]")
    assert "paused: unpaid [3 months]" in penstock("tenants", "list").output
    assert "acme: live" in penstock("tenants", "resume", "acme").output


def test_a_project_is_put_into_the_archive_and_taken_out() -> None:
    penstock("tenants", "create", "acme")
    penstock("projects", "create", "acme", "web", "--rpm", "5")
    assert "web: archived 5 rpm" in penstock("projects", "update", "web", "--archive").output
    assert "archived" in penstock("projects", "list").output
    assert "web: live" in penstock("projects", "update", "web", "--restore").output


def test_content_is_kept_only_where_it_is_said_so() -> None:
    penstock("tenants", "create", "acme")
    assert not answer("tenants", "show", "acme")["keeps_content"]
    assert "acme: content kept" in penstock("tenants", "content", "acme").output
    assert "acme: content not kept" in penstock("tenants", "content", "acme", "--drop").output


def test_a_budget_is_set_shown_and_taken_away() -> None:
    penstock("tenants", "create", "acme")
    assert "12.50 (month), 12.50 left" in penstock("budget", "set", "tenant:acme", "12.5", "--period", "month").output
    assert ["12.500000000"] == [one["budget"] for one in answer("budget", "list", "--tenant", "acme")["data"]]
    assert "no budget" in penstock("budget", "set", "tenant:acme", "none").output


def test_a_changed_plan_is_listed() -> None:
    penstock("plans", "set", "gold", "--rpm", "77")
    assert {"requests_per_minute": 77} in [one["terms"] for one in answer("plans", "list")["data"]]
    assert "77 rpm" in penstock("plans", "list").output


def test_an_invoice_is_written_to_a_file(tmp_path: Path) -> None:
    key = penstock("keys", "create", "acme").output.strip()
    bill(key, "call", "3", input_cost=Decimal(3))
    page = tmp_path / "invoice.html"
    assert penstock("invoice", "acme", "2023-11", "--format", "html", "--to", str(page)).exit_code == 0
    assert "3.000000000" in page.read_text()
    assert "3.000000000" == answer("invoice", "acme", "2023-11")["total"]["amount"]


def test_an_audit_chain_that_holds_is_said_to_be_whole() -> None:
    penstock("keys", "create", "acme")
    done = penstock("audit", "verify")
    assert (0, "2 records of 1 chains: whole\n") == (done.exit_code, done.output)
    assert ["cli", "cli"] == [one["actor"] for one in answer("audit", "list")["data"]]


def test_an_audit_chain_that_was_changed_exits_with_1_and_names_each_fault() -> None:
    penstock("keys", "create", "acme")
    penstock("keys", "create", "globex")
    with sqlite3.connect(database_url(None).removeprefix("sqlite:///")) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET subject = 'x' WHERE seq = 2")
    done = penstock("audit", "verify")
    assert done.exit_code == 1
    assert "acme 2: " in done.output
    assert "globex 2: " in done.output
    assert penstock("audit", "verify", "--json").exit_code == 1


def test_an_export_is_verified_by_its_folder(tmp_path: Path) -> None:
    penstock("keys", "create", "acme")
    assert "2 records in 1 files" in penstock("audit", "export", f"{tmp_path}/out").output
    assert penstock("audit", "verify-export", f"{tmp_path}/out").exit_code == 0
    (file,) = (tmp_path / "out").glob("*.jsonl")
    file.write_text(file.read_text().replace("acme", "emca"))
    assert penstock("audit", "verify-export", f"{tmp_path}/out").exit_code == 1


def test_a_webhook_is_added_listed_and_removed() -> None:
    id_, secret = penstock("webhooks", "add", "http://127.0.0.1:9/", "--events", "tenant.paused").output.split()
    assert secret.startswith("whsec_")
    assert "tenant.paused" in penstock("webhooks", "list").output
    assert penstock("webhooks", "remove", id_).exit_code == 0
    assert [] == answer("webhooks", "list")["data"]


def test_safety_is_set_field_by_field() -> None:
    penstock("tenants", "create", "acme", "--safety", '{"injection": "flag", "personal_deny": ["Apollo"]}')
    done = answer("tenants", "update", "acme", "--safety", '{"personal": "hash", "injection": "throttle"}')
    assert {"injection": "throttle", "personal": "hash", "personal_deny": ["Apollo"]} == done["terms"]["safety"]


def test_a_tenant_is_erased_only_when_it_is_named_again() -> None:
    penstock("tenants", "create", "acme", "--name", "Ada Lovelace")
    assert penstock("tenants", "erase", "acme", stdin="globex\n").exit_code == 2
    assert penstock("tenants", "erase", "acme", stdin="acme\n").exit_code == 0
    assert "Ada" not in penstock("tenants", "list").output
    assert "erased" in penstock("tenants", "list").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tenants", "show", "nobody"], "There is no tenant `nobody`: create it first."),
        (["keys", "disable", "key_0"], "There is no key `key_0`: list the keys to see their ids."),
        (["tenants", "create", "a b"], "`a b` cannot be the id of a tenant"),
        (["keys", "create", "acme", "--scopes", "cat"], "There is no scope `cat`: choose from batches, chat"),
        (["keys", "create", "acme", "--budget", "much"], "Invalid value for 'terms.budget'"),
        (["keys", "create", "acme", "--safety", '{"injection": "flag"}'], "safety: set it at the tenant or its plan"),
        (["keys", "rotate", "key_0", "--overlap", "soon"], "`soon` is no duration: write 90s, 30m, 24h"),
        (["keys", "create", "acme", "--terms", "{"], "--terms: not JSON"),
        (["tenants", "create", "acme", "--safety", "[]"], '--safety: write an object, like {"injection": "flag"}'),
        (["plans", "set", "gold", "--safety", '{"leak": "hide"}'], "'block', 'flag' or 'throttle'"),
        (["usage", "--since", "7d"], "--since and --until go with --by"),
        (["audit", "content", "call"], "There is no content of a call `call`"),
        (["budget", "set", "acme", "1"], "There is no account `acme`"),
        (["tenants", "list", "--config", "nothing.yaml"], "nothing.yaml: No such file or directory"),
        (["keys", "list", "--url", "http://127.0.0.1:9"], "cannot reach http://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_done_exits_with_2_and_says_why(words: list[str], said: str) -> None:
    done = penstock(*words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_a_running_graph_is_asked_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    app, port = FastAPI(), free_port()
    install(app, AdminService(Store(database_url(None)), Secrets.load()), "sk-admin-far")
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    monkeypatch.setenv("PENSTOCK_URL", f"http://127.0.0.1:{port}")
    while not server.started:
        time.sleep(0.01)
    refused = penstock("keys", "create", "acme")
    monkeypatch.setenv("PENSTOCK_ADMIN_KEY", "sk-admin-far")
    done = penstock("keys", "create", "acme")
    assert (2, True) == (refused.exit_code, "Incorrect API key provided" in refused.output)
    assert done.output.startswith("sk-")
    assert ["admin"] == list({one["actor"] for one in answer("audit", "list")["data"]})
    server.should_exit = True
    thread.join(10)


def test_lists_longer_than_a_page_are_shown_whole() -> None:
    async def many() -> None:
        store = Store(database_url(None))
        rows = [
            {"id": f"t{n:04}", "name": "", "plan": "free", "terms": {}, "keeps_content": False, "created": 0}
            for n in range(1001)
        ]
        await store.write(lambda connection: connection.execute(insert(tenants), rows))
        await store.close()

    asyncio.run(many())
    assert 1001 == len(answer("tenants", "list")["data"])


def test_the_command_line_starts_without_the_web_and_database_libraries() -> None:
    heavy = ("fastapi", "sqlalchemy", "uvicorn", "pyarrow", "torch")
    code = f"import sys, app.cli.main; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
