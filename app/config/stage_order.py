"""The stages: where each stands, what it needs, and why. The rules of `stages` and the order that runs follow from it.

`stages` in a policy lists stages in order. Others are built in: a policy does not list them; they run where what they
need is configured, at the place that they declare. `running` tells all of them; pipeline/build makes exactly those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from app.config.base import ConfigError, choose

if TYPE_CHECKING:
    from app.config.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """after, before: the stages that it stands behind, and ahead of, each with the reason.

    place: `listed`: where `stages` names it. Built in: `behind`, at once behind the last of `after` that runs, or
    `ahead`, directly ahead of the first of `before`.
    required: why it cannot be left out. partners: a stage that it cannot do without, and why.
    needs: the listed stages that switch a built-in one on; settings: so do these policy keys, with these values.
    """

    place: Literal["listed", "behind", "ahead"] = "listed"
    after: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    required: str = ""
    partners: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def runs(self, policy: Policy) -> bool:
        """Whether a built-in stage is switched on."""
        wanted = all(attrgetter(key)(policy) == value for key, value in self.settings.items())
        return wanted and all(stage in policy.stages for stage in self.needs)


SPECS: Mapping[str, StageSpec] = {
    "admit": StageSpec(required="every call has an owner and a limit"),
    "overlap": StageSpec(place="behind", after={"admit": "work is begun for calls that were let in alone"}),
    "scrub": StageSpec(
        before={"recall": "only placeholders are looked up", "generate": "no personal data reaches an engine"},
        partners={"restore": "or the caller would read placeholders"},
    ),
    "guard": StageSpec(
        before={
            "recall": "a refused prompt must not be answered from the cache",
            "generate": "a refused prompt must not reach an engine",
        },
    ),
    "screen": StageSpec(
        place="ahead",
        before={
            "recall": "a flagged prompt must not be answered from the cache",
            "route": "a flagged prompt needs no pool",
        },
        needs=("moderate",),
    ),
    "confide": StageSpec(
        place="ahead",
        after={"scrub": "what is kept is what the engine sees"},
        before={
            "recall": "a stored answer may leak as well",
            "generate": "what the engine sees is kept for `tools` and `leak`",
        },
    ),
    "recall": StageSpec(
        before={"generate": "a hit must spare the engine"},
        partners={"remember": "or the cache would stay empty"},
    ),
    "route": StageSpec(before={"generate": "a prompt needs a pool"}, required="a prompt needs a pool"),
    "generate": StageSpec(required="somebody must answer"),
    "gate": StageSpec(
        place="behind",
        after={"generate": "it holds back what the engine says"},
        before={"moderate": "nothing is shown before the verdict"},
        needs=("guard",),
        settings={"guard.mode": "alongside"},
    ),
    "tools": StageSpec(
        place="behind",
        after={
            "generate": "it reads the answer",
            "gate": "a refused prompt has no answer",
        },
        before={
            "moderate": "a call that turns into text is judged as such",
            "restore": "the request's tools have the names that the engine saw",
        },
    ),
    "moderate": StageSpec(after={"generate": "what is moderated must exist"}),
    "leak": StageSpec(
        place="behind",
        after={
            "generate": "it reads the answer",
            "gate": "a refused prompt has no answer",
            "tools": "a call that turns into text is watched as such",
            "moderate": "it reads what may be shown",
        },
        before={
            "remember": "an answer that was stopped is not cached",
            "restore": "instructions and answer must have the same placeholders",
        },
        needs=("guard",),
    ),
    "remember": StageSpec(
        after={"moderate": "only safe text is cached", "generate": "what is stored must exist"},
        partners={"recall": "or nobody would read what is stored"},
    ),
    "restore": StageSpec(
        after={
            "remember": "only placeholders are cached",
            "moderate": "a placeholder must not be split by the moderator's window",
            "generate": "what is restored must exist",
        },
        partners={"scrub": "or there is nothing to restore"},
    ),
    "settle": StageSpec(required="every call is billed exactly once"),
}
"""By name, in the default order."""

STAGES = tuple(name for name, spec in SPECS.items() if spec.place == "listed")
REQUIRED: Mapping[str, str] = {name: spec.required for name, spec in SPECS.items() if spec.required}
PAIRS: Mapping[str, tuple[str, str]] = {
    name: (other, why) for name, spec in SPECS.items() for other, why in spec.partners.items()
}


def rules() -> Iterator[tuple[str, str, str]]:
    """Every pair that the stages declare: the first, the one behind it, and why."""
    for name, spec in SPECS.items():
        yield from ((name, other, why) for other, why in spec.before.items())
        yield from ((other, name, why) for other, why in spec.after.items())


BEFORE = tuple((first, then, why) for first, then, why in rules() if {first, then} <= set(STAGES))
"""The rules that a policy's list can break."""


def running(policy: Policy) -> tuple[str, ...]:
    """Every stage that runs, in order: those listed, which keep the rules, and the built-in ones at their places."""
    built_in = [name for name, spec in SPECS.items() if spec.place != "listed" and spec.runs(policy)]
    there = {*policy.stages, *built_in}
    order: list[str] = []

    def stand(place: str, stage: str) -> None:
        for name in built_in:
            spec = SPECS[name]
            due = stage in spec.before if place == "ahead" else (there & set(spec.after)) <= set(order)
            if spec.place == place and due and name not in order:
                order.append(name)

    for stage in policy.stages:
        stand("ahead", stage)
        order.append(stage)
        stand("behind", stage)
    return tuple(order)


def check_order(stages: list[str]) -> None:
    """Refuse an order that breaks a rule, naming the rule. Raises ConfigError."""
    fault = next(_faults(stages), None)
    if fault is not None:
        raise fault


def _faults(stages: list[str]) -> Iterator[ConfigError]:
    yield from (choose("stages", stage, STAGES) for stage in stages if stage not in STAGES)
    yield from (ConfigError(f"stages: `{stage}` stands twice") for stage in stages if stages.count(stage) > 1)
    for stage, why in REQUIRED.items():
        if stage not in stages:
            yield ConfigError(f"stages: `{stage}` cannot be left out: {why}")
    for stage, (other, why) in PAIRS.items():
        if stage in stages and other not in stages:
            yield ConfigError(f"stages: `{stage}` needs `{other}`, {why}")
    if stages[0] != "admit" or stages[-1] != "settle":
        yield ConfigError(
            "stages: `admit` is the first and `settle` the last: what is between is reserved, then billed"
        )
    for first, then, why in BEFORE:
        if first in stages and then in stages and stages.index(first) > stages.index(then):
            yield ConfigError(f"stages: `{first}` must stand before `{then}`: {why}")
