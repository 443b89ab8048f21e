"""`penstock plan` and `penstock profile` as commands: small traces, whole reports."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.planner.claims import ALL_OFF, ON
from app.planner.plan import Ask, plan
from app.planner.profile import load
from app.planner.scenario import Assumptions
from app.planner.trace import synthetic, write_azure
from graphs.cli import app
from tests.planner.engine import engine
from tests.planner.kit import ROOT

GPU = str(ROOT / "configs" / "gpu.yaml")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("trace") / "trace.csv"
    write_azure(synthetic(120, 3), file)
    return str(file)


@pytest.fixture(scope="module")
def reported(trace: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the command printed, and its report's folder."""
    out = tmp_path_factory.mktemp("report") / "made"
    done = CliRunner().invoke(app, ["plan", "--trace", trace, "--config", GPU, "--out", str(out), "--workers", "1"])
    assert done.exit_code == 0, done.output
    return done.stdout, out


class Outside(HTMLParser):
    """What a page would fetch from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.images = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.images += tag == "img"
        if tag in {"link", "script", "iframe", "object", "embed", "base"}:
            self.found.append(tag)
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            if given.get(name) and not str(given[name]).startswith("data:image/png;base64,"):
                self.found.append(str(given[name]))


def test_the_report_is_one_file_that_fetches_nothing(reported: tuple[str, Path]) -> None:
    page = (reported[1] / "report.html").read_text()
    outside = Outside()
    outside.feed(page)
    assert [] == outside.found
    assert 6 == outside.images
    assert not re.search(r"@import|url\(", page)


def test_the_charts_are_pictures_and_lie_beside_it(reported: tuple[str, Path]) -> None:
    names = {file.name for file in reported[1].glob("*.png")}
    assert {"cost.png", "gpus.png", "users.png", "latency.png", "claims.png", "sensitivity.png"} == names
    assert all((reported[1] / name).read_bytes().startswith(PNG) for name in names)


def test_the_terminal_shows_every_table_of_the_report(reported: tuple[str, Path]) -> None:
    titles = re.findall(r"<h2>(.*?)</h2><table>", (reported[1] / "report.html").read_text())
    assert len(titles) > 10
    words = " ".join(reported[0].split())
    assert all(" ".join(title.replace("&#x27;", "'").split()) in words for title in titles)


def test_the_json_holds_the_questions_that_a_plan_answers(trace: str) -> None:
    words = ["plan", "--trace", trace, "--config", GPU, "--json", "--workers", "1", "--tokens", "2e8"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    by_table: dict[str, list[dict[str, Any]]] = {}
    for one in found["answers"]:
        by_table.setdefault(one["table"], []).append(one)
        ends = [one["outcome"][how] for how in ("answered", "cached", "shed", "failed")]
        assert one["outcome"]["calls"] == sum(ends)
    assert {"configured", "switches", "ten times", "users", "strict", "repeating", "gpus", "sensitivity"} == set(
        by_table
    )
    assert pytest.approx(2e8) == by_table["configured"][0]["outcome"]["tokens_per_day"]
    assert {"H200", "H100", "A100", "L40S"} <= {one["label"] for one in by_table["gpus"]}
    assert {"routing", "prompt caching", "prefill/decode split"} <= {claim["what"] for claim in found["claims"]}


def test_a_plan_is_the_same_with_one_worker_and_with_two() -> None:
    from app.config import load_file

    config, calls = load_file(ROOT / "configs" / "local.yaml"), synthetic(60, 1)
    one, two = (plan(config, calls, Assumptions(), Ask(1e7, 50, workers=count), {}) for count in (1, 2))
    assert one.answers == two.answers
    assert {ON, ALL_OFF} <= {answer.label for answer in one.answers}


@pytest.mark.parametrize(
    "rows",
    [
        [{"timestamp": 0, "input_length": 500, "output_length": 20, "hash_ids": [0]}],
        [{"timestamp": 0, "input_length": 500, "output_length": 20, "hash_ids": [0]}] * 30,
        [{"timestamp": 27 * n, "input_length": 1100, "output_length": n, "hash_ids": [0, n % 3, n]} for n in range(60)],
        [{"timestamp": 0, "input_length": 10**7, "output_length": 1}] * 3,
    ],
    ids=["one call", "all at once", "shared blocks", "longer than any pool holds"],
)
def test_every_trace_can_be_planned_for(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    words = [
        "plan",
        "--trace",
        str(tmp_path / "trace.jsonl"),
        "--config",
        GPU,
        "--workers",
        "1",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shares", "90,10"], "give one percentage for each of small, medium, large"),
        (["--shares", "a,b,c"], "give one percentage"),
        (["--profile", "missing.json"], "missing.json"),
        (["--scores", "missing.json"], "missing.json"),
    ],
)
def test_what_cannot_be_planned_leaves_with_a_sentence(trace: str, words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["plan", "--trace", trace, "--config", GPU, *words])
    assert 2 == done.exit_code
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_a_file_that_is_no_trace_leaves_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("nothing\n")
    done = CliRunner().invoke(app, ["plan", "--trace", str(tmp_path / "no"), "--config", GPU])
    assert 2 == done.exit_code
    assert "line 1" in done.stderr


def test_a_measured_profile_is_written_and_planned_with(trace: str, tmp_path: Path) -> None:
    file, local = tmp_path / "profile.json", str(ROOT / "configs" / "local.yaml")
    with engine() as fake:
        words = [
            "--url",
            fake.url,
            "--key",
            "key",
            "--pool",
            "smol-a",
            "--pool",
            "smol-b",
            "--longest",
            "64",
            "--batch",
            "2",
        ]
        done = CliRunner().invoke(app, ["profile", str(file), *words])
    assert done.exit_code == 0, done.output
    assert {"smol-a", "smol-b"} == set(load(file).pools)
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "judges": {"guard": {"base": 1, "per_token": 0, "at_most": 0}}})
    )
    words = ["plan", "--trace", trace, "--config", local, "--profile", str(file), "--json", "--workers", "1"]
    planned = CliRunner().invoke(app, [*words, "--tokens", "1e7", "--users", "10"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["sources"]["smol-a"].startswith("measured over HTTP")
    assert {"guard": [1.0, 0.0, 0]} == json.loads(planned.stdout)["assumed"]["judges"]


def test_an_engine_that_is_not_there_leaves_with_a_sentence(tmp_path: Path) -> None:
    with engine() as fake:
        url = fake.url
    done = CliRunner().invoke(app, ["profile", str(tmp_path / "p.json"), "--url", url, "--key", "key"])
    assert 2 == done.exit_code
    assert "Is the graph running?" in done.stderr
    assert not (tmp_path / "p.json").exists()
