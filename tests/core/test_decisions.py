"""The trail is a view of the decisions: the audit record keeps these facts, by these names, and no others."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from app.core.decisions import (
    AdmitDecision,
    CacheDecision,
    ConsultDecision,
    Decision,
    Decisions,
    GenerateDecision,
    GuardDecision,
    LeakDecision,
    ModerateDecision,
    RememberDecision,
    RouteDecision,
    ScreenDecision,
    ScrubDecision,
)

LOOKUP = {"score": 0.98765, "judged": 0.91234, "risk": 0.03456, "tries": 40}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (AdmitDecision("budget"), {"denied": "budget"}),
        (ScrubDecision({}), {"types": {}}),
        (ScrubDecision({"PERSON": 2}, "placeholder"), {"types": {"PERSON": 2}}),
        (ScrubDecision({"PERSON": 2}, "hash"), {"types": {"PERSON": 2}, "mode": "hash"}),
        (GuardDecision("none", 0.0), {"label": "none", "score": 0.0, "refused": False}),
        (
            GuardDecision("injection", 0.98765, "flag", "tools"),
            {"label": "injection", "score": 0.9877, "refused": False, "action": "flag", "where": "tools"},
        ),
        (
            GuardDecision("injection", 1.0, "block"),
            {"label": "injection", "score": 1.0, "refused": True, "action": "block"},
        ),
        (ScreenDecision({"toxicity": 0.12345}, "toxicity"), {"toxicity": 0.1235}),
        (CacheDecision("bypass", "asked"), {"result": "bypass", "why": "asked"}),
        (CacheDecision("exact", score=1.0), {"result": "exact", "score": 1.0}),
        (
            CacheDecision("explore", **LOOKUP),
            {"result": "explore", "score": 0.9877, "judged": 0.9123, "risk": 0.0346, "tries": 40},
        ),
        (RouteDecision("small", ("a", "b")), {"tier": "small", "pools": ["a", "b"]}),
        (
            RouteDecision("small", ("a",), 0.0, 0.0, "score"),
            {"tier": "small", "pools": ["a"], "score": 0.0, "threshold": 0.0, "by": "score"},
        ),
        (
            RouteDecision(score=0.51234, threshold=0.5, by="tools", drift=0.12345, denied="tokens"),
            {"score": 0.5123, "threshold": 0.5, "by": "tools", "drift": 0.1235, "denied": "tokens"},
        ),
        (GenerateDecision("a", 2), {"pool": "a", "attempts": 2}),
        (GenerateDecision("b", 1, 1), {"pool": "b", "attempts": 1, "recovered": 1}),
        (ModerateDecision({"toxicity": 0.9}, "toxicity"), {"toxicity": 0.9, "stopped": "toxicity"}),
        (LeakDecision("throttle"), {"action": "throttle"}),
        (RememberDecision(stored=False), {"stored": False}),
        (ConsultDecision(3), {"texts": 3}),
    ],
)
def test_each_decision_leaves_these_facts(made: Decision, expected: dict[str, Any]) -> None:
    assert expected == made.trail


def test_a_trail_has_what_was_decided_by_stage_and_nothing_of_the_others() -> None:
    made = Decisions(leak=LeakDecision("flag"), guard=GuardDecision("none", 0.1))
    made.others["language"] = ConsultDecision(1)
    assert ["guard", "leak", "language"] == list(made.trail)


def test_a_decision_cannot_be_changed_behind_its_stages_back() -> None:
    made = GuardDecision("injection", 1.0, "block")
    with pytest.raises(FrozenInstanceError):
        made.action = "flag"  # type: ignore[misc]
