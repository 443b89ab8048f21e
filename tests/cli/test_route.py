"""`penstock route`: thresholds from a file of prompts or from the audit's scores, written into the config."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from app.cli.route import prompts, rewrite
from app.config import ConfigError, load_file
from app.runtime.process import Runtime
from graphs.cli import app
from tests.contracts.ledger_kit import row
from tests.kit import WHO, graph, policy

ROOT = Path(__file__).parents[2]
NAMES = ("small", "medium", "large")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of fakes, where a prompt of n words scores n / 100."""
    monkeypatch.setenv("PENSTOCK_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PENSTOCK_URL", raising=False)
    tiers = {
        name: {"min_complexity": at / 10, "pools": {"a": 1}, "price": {"input": 1, "cached_input": 1, "output": 1}}
        for at, name in enumerate(NAMES)
    }
    app_ = {
        "name": "penstock",
        "import_path": "graphs.chat:build",
        "args": graph().model_dump(mode="json", exclude_none=True),
        "deployments": [
            {"name": "Gateway", "user_config": policy(tiers=tiers).model_dump(mode="json", exclude_none=True)}
        ],
    }
    file = tmp_path / "serve.yaml"
    file.write_text(yaml.safe_dump({"applications": [app_]}))
    return file


def penstock(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def sample(tmp_path: Path) -> str:
    rows = [{"prompt": " ".join(["word"] * at)} for at in range(1, 101)]
    file = tmp_path / "sample.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def test_a_sample_sets_the_thresholds_that_split_it_as_wanted(config: Path, tmp_path: Path) -> None:
    done = penstock("route", "calibrate", sample(tmp_path), "--share", "90,7,3", "--config", str(config), "--write")
    assert done.exit_code == 0, done.output
    assert "90.0%" in done.output
    tiers = load_file(config).policy.tiers
    assert {"small": 0.0, "medium": 0.905, "large": 0.975} == {
        name: tier.min_complexity for name, tier in tiers.items()
    }


def test_json_gives_the_same_figures(config: Path, tmp_path: Path) -> None:
    done = penstock("route", "calibrate", sample(tmp_path), "--config", str(config), "--json")
    found = json.loads(done.output)
    assert found["scores"] == 100
    assert found["tiers"]["large"] == {"min_complexity": 0.975, "wanted": 0.03, "got": 0.03}


@pytest.mark.parametrize("share", ["90,10", "90,7,4", "a,b,c", "110,-7,-3"])
def test_shares_that_do_not_fit_the_tiers_are_refused(config: Path, tmp_path: Path, share: str) -> None:
    done = penstock("route", "calibrate", sample(tmp_path), "--share", share, "--config", str(config))
    assert done.exit_code == 2
    assert "small, medium, large" in done.output


def test_without_traffic_the_audit_has_no_scores_and_that_is_said(config: Path) -> None:
    done = penstock("route", "calibrate", "--config", str(config))
    assert done.exit_code == 2
    assert "no scores: give a file of prompts, or a longer --since" in done.output


def test_by_default_the_audits_scores_are_read(config: Path) -> None:
    kit_ledger(config, [at / 100 for at in range(1, 101)])
    done = penstock("route", "calibrate", "--config", str(config), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (100, 0.905) == (found["scores"], found["tiers"]["medium"]["min_complexity"])


def kit_ledger(config: Path, scores: list[float]) -> None:
    """Settle one call for each score, as a gateway would."""

    async def work() -> None:
        runtime = Runtime(load_file(config).graph.state.database)
        await runtime.admin_service.begin()
        for at, score in enumerate(scores):
            trail = {"route": {"score": score}}
            await runtime.ledger.settle(replace(row(f"call-{at}", WHO), created=time.time(), trail=trail))
        await runtime.stop()

    asyncio.run(work())


def test_explain_names_the_tier(config: Path) -> None:
    done = penstock(
        "route", "explain", "one two three four five six seven eight nine ten eleven", "--config", str(config)
    )
    assert "medium: score 0.1100, which reaches 0.1" in done.output


def test_a_sample_may_hold_prompts_chats_and_batch_lines(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "no"}]}
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]}]}
    rows = ["a", {"prompt": "p"}, chat, {"body": parts}]
    file = tmp_path / "s.jsonl"
    file.write_text("\n\n".join(map(json.dumps, rows)))
    assert ["a", "p", "b", "c\nd"] == prompts(file)


@pytest.mark.parametrize("bad", ["{", "3", '{"text": "x"}', "[1]"])
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(f'"a"\n{bad}\n')
    with pytest.raises(ValueError, match="line 2: want JSON"):
        prompts(file)


def test_writing_changes_the_numbers_alone(tmp_path: Path) -> None:
    text = (ROOT / "configs" / "local.yaml").read_text()
    file = tmp_path / "c.yaml"
    file.write_text(text)
    (tmp_path / "link.yaml").symlink_to(file)
    rewrite(tmp_path / "link.yaml", {"small": 0.0, "medium": 0.1234, "large": 0.5})
    changed = [line.strip() for line in file.read_text().splitlines() if line not in text.splitlines()]
    assert changed == ["min_complexity: 0", "min_complexity: 0.1234", "min_complexity: 0.5"]
    assert (tmp_path / "link.yaml").is_symlink()


def test_a_tier_without_a_written_threshold_is_left_to_a_person(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("tiers: {small: {min_complexity: 0}}\n")
    with pytest.raises(ConfigError, match="no `min_complexity` written out for large"):
        rewrite(file, {"small": 0, "large": 0.5})
