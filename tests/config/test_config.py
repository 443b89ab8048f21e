"""Config files: strict, checked as a whole, refused with the key and the choices."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import (
    BEFORE,
    PAIRS,
    REQUIRED,
    STAGES,
    ConfigError,
    check,
    check_order,
    load_file,
    parse_graph,
    parse_policy,
)
from tests.kit import PRICE, graph, policy

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", sorted(ROOT.glob("configs/*.yaml")), ids=lambda f: f.name)
def test_every_shipped_config_is_valid(file: Path) -> None:
    assert load_file(file).policy.tiers


def test_serve_config_is_the_local_config() -> None:
    assert (ROOT / "serve_config.yaml").read_text() == (ROOT / "configs/local.yaml").read_text()


def test_the_default_order_keeps_every_rule() -> None:
    check_order(list(STAGES))


@pytest.mark.parametrize(("first", "then", "why"), BEFORE)
def test_an_order_that_breaks_a_rule_is_refused_with_the_rule(first: str, then: str, why: str) -> None:
    needed = {*REQUIRED, first, then} | {PAIRS[stage][0] for stage in (first, then) if stage in PAIRS}
    others = [stage for stage in STAGES if stage in needed - {first, then, "admit", "settle"}]
    cuts = [(at, end) for at in range(len(others) + 1) for end in range(at, len(others) + 1)]
    broken = [_order(others[:at], then, others[at:end], first, others[end:]) for at, end in cuts]
    said = set()
    for stages in broken:
        with pytest.raises(ConfigError) as refused:
            check_order(stages)
        said.add(str(refused.value))
    assert any(f"`{first}` must stand before `{then}`: {why}" in line for line in said)


def _order(*parts: str | list[str]) -> list[str]:
    middle = [stage for part in parts for stage in ([part] if isinstance(part, str) else part)]
    return ["admit", *middle, "settle"]


@pytest.mark.parametrize("stage", REQUIRED)
def test_a_required_stage_cannot_be_left_out(stage: str) -> None:
    with pytest.raises(ConfigError, match=f"`{stage}` cannot be left out"):
        check_order([name for name in STAGES if name != stage])


@pytest.mark.parametrize("stage", PAIRS)
def test_stages_that_need_each_other_come_together(stage: str) -> None:
    with pytest.raises(ConfigError, match="needs"):
        check_order([name for name in STAGES if name != PAIRS[stage][0]])


@pytest.mark.parametrize(
    "off",
    [
        set(c)
        for r in range(4)
        for c in itertools.combinations(("scrub+restore", "guard", "recall+remember", "moderate"), r)
    ],
)
def test_optional_stages_switch_off_in_any_combination(off: set[str]) -> None:
    gone = {stage for group in off for stage in group.split("+")}
    check_order([stage for stage in STAGES if stage not in gone])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ["admit", "scrob", "settle"]}, "stages: `scrob` is not known: choose from admit, generate"),
        (
            {"moderate": {"strid": 3}},
            "user_config.moderate.strid: unknown key: choose from delay, overlap, stride, thresholds",
        ),
        ({"guard": {"mode": "later"}}, "user_config.guard.mode: Input should be 'before' or 'alongside'"),
        ({"moderate": {"stride": 400, "window": 400}}, "stride: 400 must be below window"),
        ({"tiers": {}}, "tiers: name at least one"),
        (
            {"tiers": {"big": {"min_complexity": 0.2, "pools": {"a": 1}, "price": PRICE}}},
            "one must have `min_complexity: 0`",
        ),
    ],
)
def test_a_bad_policy_is_refused_with_key_and_choices(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_policy({**policy().model_dump(mode="json"), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guard": {"adapter": "onxx"}}, "guard.adapter: `onxx` is not known: choose from fake, onnx"),
        ({"guard": {"adapter": "fake", "options": {"wrds": {}}}}, "guard.options: `wrds` is not known: choose from"),
        ({"cache": {"adapter": "fake", "deployment": {"num_replicas": 2}}}, "keep one replica"),
        ({"pools": {}}, "pools: name at least one"),
        ({"pools": {"a": {"kind": "vlm", "model_id": "x"}}}, "kind"),
        (
            {"scrubber": {"adapter": "fake", "placment": "inline"}},
            "args.scrubber.placment: unknown key: choose from adapter",
        ),
        ({"gateway": {"num_replicas": 2, "autoscaling_config": {"min_replicas": 1}}}, "not both"),
    ],
)
def test_a_bad_graph_is_refused_with_key_and_choices(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_graph({**graph().model_dump(mode="json", exclude={"policy"}), **changes})


def test_a_tier_over_an_unknown_pool_names_the_pools() -> None:
    tiers = {"small": {"min_complexity": 0, "pools": {"smal": 1}, "price": PRICE}}
    with pytest.raises(ConfigError, match=re.escape("tiers.small.pools: `smal` is not known: choose from a, b")):
        check(graph(), policy(tiers=tiers))


def test_a_file_without_a_policy_says_where_it_belongs(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    del document["applications"][0]["deployments"]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="no `user_config` under the deployment `Gateway`"):
        load_file(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not valid YAML"), ("{}", "no application"), ("[]", "no application")]
)
def test_a_file_that_is_no_serve_config_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_file(tmp_path / "c.yaml")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load_file("nowhere.yaml")
