"""The order that runs: the listed stages and the built-in ones, each where it says."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import pytest

from app.config import STAGES, ConfigError, check_order
from app.config.ports import PORTS, ports_of
from app.config.stage_order import SPECS, rules, running
from app.pipeline.build import CLASSES
from tests.kit import policy

OPTIONAL = ({"scrub", "restore"}, {"guard"}, {"recall", "remember"}, {"moderate"})

FRONT = "admit overlap scrub guard screen confide recall route"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            f"{FRONT} generate tools moderate leak remember restore settle",
        ),
        (
            {"guard": {"mode": "alongside"}},
            f"{FRONT} generate gate tools moderate leak remember restore settle",
        ),
        (
            {"stages": ["admit", "guard", "route", "generate", "moderate", "settle"]},
            "admit overlap guard screen route confide generate tools moderate leak settle",
        ),
        (
            {"stages": ["admit", "guard", "route", "generate", "settle"], "guard": {"mode": "alongside"}},
            "admit overlap guard route confide generate gate tools leak settle",
        ),
        ({"stages": ["admit", "route", "generate", "settle"]}, "admit overlap route confide generate tools settle"),
    ],
)
def test_built_in_stages_run_where_what_they_need_is_configured(changes: dict[str, Any], expected: str) -> None:
    assert expected.split() == list(running(policy(**changes)))


@pytest.mark.parametrize("mode", ["before", "alongside"])
def test_every_legal_list_keeps_every_rule_and_its_own_order(mode: str) -> None:
    base = policy(guard={"mode": mode})
    seen = 0
    for stages in _legal():
        order = running(base.model_copy(update={"stages": stages}))
        seen += 1
        assert stages == [stage for stage in order if SPECS[stage].place == "listed"]
        assert len(set(order)) == len(order)
        for first, then, why in rules():
            assert first not in order or then not in order or order.index(first) < order.index(then), why
    assert seen > 50


def _legal() -> list[list[str]]:
    """Every list of stages that a policy may have."""
    lists = (
        ["admit", *middle, "settle"]
        for off in product([False, True], repeat=len(OPTIONAL))
        for middle in permutations(set(STAGES) - {"admit", "settle"} - _gone(off))
        # Most orders break this rule alone; it is cheap to ask first.
        if "restore" not in middle or middle[-1] == "restore"
    )
    return [stages for stages in lists if _passes(stages)]


def _gone(off: tuple[bool, ...]) -> set[str]:
    return {stage for without, group in zip(off, OPTIONAL, strict=True) if without for stage in group}


def _passes(stages: list[str]) -> bool:
    try:
        check_order(stages)
    except ConfigError:
        return False
    return True


def test_every_stage_has_a_class_and_every_class_a_place() -> None:
    assert list(SPECS) == list(CLASSES)


def test_ports_are_asked_by_stages_that_there_are() -> None:
    assert {stage for spec in PORTS.values() for stage in spec.asked_by} <= set(SPECS)
    assert ("ledger", "encoder", "complexity") == ports_of("route")
    assert ("guard",) == ports_of("gate")
