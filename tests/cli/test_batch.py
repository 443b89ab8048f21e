"""`penstock batch`: what it prints, how it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from graphs.cli import app
from tests.batch_kit import Batchery, lines, task
from tests.kit import KEY, free_port


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Batchery]:
    monkeypatch.setattr("app.cli.batch.LOOK", 0.05)
    monkeypatch.setenv("PENSTOCK_KEY", KEY)
    with Batchery(tmp_path).serving() as made:
        monkeypatch.setenv("PENSTOCK_URL", made.url)
        yield made


def penstock(*words: str) -> Result:
    return CliRunner().invoke(app, ["batch", *words])


def written(shop: Batchery, data: bytes) -> str:
    file = shop.folder / "in.jsonl"
    file.write_bytes(data)
    return str(file)


def test_a_batch_is_submitted_waited_for_and_fetched(shop: Batchery) -> None:
    bad = task("bad", body={"model": "small", "messages": []})
    done = penstock("submit", written(shop, lines(task("a", "One"), bad, task("b", "Two"))), "--wait")
    assert 0 == done.exit_code, done.output
    id_ = done.stdout.splitlines()[0]
    assert "completed: 2 of 3 lines answered, 1 failed" in done.stdout
    assert "completed: 2 of 3 lines answered, 1 failed" in penstock("status", id_).stdout
    got = penstock("get", id_).stdout.splitlines()
    assert ["a", "b"] == [json.loads(line)["custom_id"] for line in got]
    assert 0 == penstock("get", id_, "--to", str(shop.folder / "out.jsonl")).exit_code
    assert got == (shop.folder / "out.jsonl").read_text().splitlines()
    [failed] = penstock("get", id_, "--errors").stdout.splitlines()
    assert "bad" == json.loads(failed)["custom_id"]
    assert id_ in penstock("list").stdout
    assert [id_] == [one["id"] for one in json.loads(penstock("list", "--json").stdout)["data"]]


def test_what_is_wrong_with_a_file_is_told_by_line(shop: Batchery) -> None:
    done = penstock("submit", written(shop, lines(task("a"), task("a"))), "--wait")
    assert "failed: 0 of 0 lines answered, 0 failed" in done.stdout
    assert "line 2: The custom_id 'a' was used by another line of this file." in done.stdout
    nothing = penstock("get", done.stdout.splitlines()[0])
    assert (1, True) == (nothing.exit_code, "has no output: its status is failed" in nothing.stderr)


def test_the_apis_no_is_told_in_its_own_words(shop: Batchery, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = penstock("cancel", "batch_none")
    assert (2, True) == (unknown.exit_code, "No batch found with id 'batch_none'" in unknown.stderr)
    nameless = penstock("submit", written(shop, b"{}\n"))
    assert (2, True) == (nameless.exit_code, "name the batch's --endpoint" in nameless.stderr)
    monkeypatch.setenv("PENSTOCK_URL", f"http://127.0.0.1:{free_port()}")
    gone = penstock("list")
    assert (2, True) == (gone.exit_code, "Is the graph running?" in gone.stderr)
