"""The command line: what it prints, how it fails."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from graphs.cli import app
from tests.kit import Kit, ask, free_port, run, serving

ROOT = Path(__file__).parents[1]
LOCAL = str(ROOT / "configs" / "local.yaml")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
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
    assert "good. 10 rooms, 3 tiers, 2 pools." in done.output


def test_a_bad_config_exits_with_2_and_names_the_key(tmp_path: Path) -> None:
    done = penstock("config", "check", edited(tmp_path, encodr={}))
    assert done.exit_code == 2
    assert "args.encodr: unknown key: choose from cache, complexity, encoder" in done.output


def test_the_schema_names_every_key_of_graph_and_policy() -> None:
    schema = json.loads(penstock("config", "schema").output)
    assert "pools" in schema["args"]["properties"]
    assert "rooms" in schema["user_config"]["properties"]


def test_the_graph_is_drawn_in_the_order_a_call_passes() -> None:
    drawn = penstock("graph", LOCAL).output
    rooms = ["admit", "scrub", "guard", "recall", "route", "generate", "moderate", "remember", "restore", "settle"]
    places = [drawn.index(f"─ {room}") for room in rooms]
    assert places == sorted(places)
    assert "smol-a: smollm2-135m-instruct [vllm, local]" in drawn


def test_mermaid_has_every_room_and_pool() -> None:
    drawn = penstock("graph", LOCAL, "--mermaid").output
    assert drawn.startswith("flowchart LR")
    assert "admit --> scrub" in drawn
    assert 'generate == small ==> pool_smol_a["smol-a<br/>smollm2-135m-instruct"]' in drawn


def test_a_key_is_shown_once_and_listed_without_itself() -> None:
    key = penstock("keys", "create", "acme", "--rpm", "60").output.strip()
    listed = penstock("keys", "list").output
    assert key.startswith("sk-")
    assert "acme" in listed
    assert "60" in listed
    assert key not in listed


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


async def test_usage_shows_calls_as_they_were_billed() -> None:
    from app.adapters.sql.ledger import SqlLedger
    from app.state import database_url

    kit = Kit()
    call, _ = await run(kit.gateway(), ask("hello"))
    ledger = SqlLedger(database_url(None))
    await ledger.ensure_tenant("acme")
    await ledger.settle(None, kit.rows[0])
    await ledger.close()
    shown = await asyncio.to_thread(penstock, "usage", "--tenant", "acme")
    assert call.id in shown.output
    assert f"{kit.rows[0].cost:.9f}" in shown.output
    assert (await asyncio.to_thread(penstock, "usage", "--tenant", "globex")).output.count("chatcmpl-") == 0
