"""Old names of config keys: accepted for one version, told in the log, rewritten by `penstock config migrate`."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from app.cli.main import app as cli
from app.config import ConfigError, load_file, parse_graph, parse_policy
from app.config.renamed import GRAPH, POLICY, migrate

ROOT = Path(__file__).parents[2]
OLD = """
applications:
  - import_path: graphs.chat:build
    args:  # what stands
      same: { adapter: fake }
    deployments:
      - name: Gateway
        user_config:
          rooms: [admit, route, generate, settle]  # the order
          recall: { floor: 0.7, audit: 0.1 }
          route:
            at_least: { tools: small }
          tiers:
            small: { above: 0.0, pools: { a: 1 }, price: { input: 1, cached_input: 1, output: 1 } }
          watch: { alerts: [50] }
"""


def user_config(text: str) -> dict[str, object]:
    return yaml.safe_load(text)["applications"][0]["deployments"][0]["user_config"]


def test_a_policy_of_old_names_is_the_policy_of_the_new_ones_and_says_what_to_rename(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        old = parse_policy(user_config(OLD))
    assert parse_policy(user_config(migrate(OLD)[0])) == old
    assert 0.7 == old.cache.min_similarity
    assert [50] == old.alerts.budget_percents
    assert "tiers.small.above" in caplog.text


def test_a_graph_of_old_names_is_read() -> None:
    pools = {"pools": {"a": {"kind": "fake"}}}
    ports = {name: {"adapter": "fake"} for name in ("encoder", "scrubber", "guard", "cache", "complexity", "moderator")}
    assert parse_graph({**pools, **ports, "paraphrase": {"adapter": "fake"}}) == parse_graph(
        {**pools, **ports, "same": {"adapter": "fake"}}
    )


def test_an_old_key_below_a_new_one_is_read_too_and_named_as_it_was_written() -> None:
    half = OLD.replace("recall:", "cache:")
    assert "cache.floor -> min_similarity" in migrate(half)[1]
    assert "recall.floor -> min_similarity" in migrate(OLD)[1]
    assert migrate(OLD)[0] == migrate(half)[0]


def test_both_names_at_once_are_refused() -> None:
    both = {**user_config(OLD), "stages": ["admit"]}
    with pytest.raises(ConfigError, match="rooms: is now `stages`"):
        parse_policy(both)


def test_migrating_keeps_comments_and_a_second_time_changes_nothing() -> None:
    new, renamed = migrate(OLD)
    assert "# what stands" in new
    assert "stages: [admit, route, generate, settle]  # the order" in new
    assert "tiers.small.above -> min_complexity" in renamed
    assert (new, []) == migrate(new)


def test_the_command_rewrites_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(OLD)
    done = CliRunner().invoke(cli, ["config", "migrate", str(file)])
    assert 0 == done.exit_code
    assert migrate(OLD)[0] == file.read_text()
    assert "rooms -> stages" in done.stdout


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")))
def test_shipped_configs_use_the_new_names(file: Path) -> None:
    load_file(file)
    assert [] == migrate(file.read_text())[1]


def test_every_new_name_is_a_key_of_the_schema() -> None:
    from app.config import Graph, Policy

    names = str(Policy.model_json_schema()) + str(Graph.model_json_schema())
    assert [] == [new for new in {**GRAPH, **POLICY}.values() if f"'{new}'" not in names]
