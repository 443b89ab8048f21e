"""What each stage decided of a call: one frozen value a stage, written by it alone, read by whoever comes after.

Behaviour, headers and metrics read the values; the trail of the audit record is a view of them. Facts, counts and
scores, never text of the caller or the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from app.core.ports import Action, Hiding


class Decision(Protocol):
    """What a stage decided."""

    @property
    def trail(self) -> dict[str, Any]:
        """The facts that the audit record keeps."""
        ...


def _facts(**facts: Any) -> dict[str, Any]:
    """Those that are known: None is none."""
    return {name: fact for name, fact in facts.items() if fact is not None}


@dataclass(frozen=True, slots=True)
class AdmitDecision:
    """denied: the limit or term that refused the call."""

    denied: str

    @property
    def trail(self) -> dict[str, Any]:
        return _facts(denied=self.denied)


@dataclass(frozen=True, slots=True)
class ScrubDecision:
    """types: kinds of personal data found, and how often. mode: what became of it; None: nothing was found."""

    types: Mapping[str, int]
    mode: Hiding | None = None

    @property
    def trail(self) -> dict[str, Any]:
        mode = None if self.mode == "placeholder" else self.mode
        return _facts(types=dict(self.types), mode=mode)


@dataclass(frozen=True, slots=True)
class GuardDecision:
    """label, score: the highest of what was judged, 0..1. action: what a finding did to the call; None: no finding.

    where: `tools` when they held it.
    """

    label: str
    score: float
    action: Action | None = None
    where: str | None = None

    @property
    def refused(self) -> bool:
        """Whether the call ends here."""
        return self.action == "block"

    @property
    def trail(self) -> dict[str, Any]:
        facts = _facts(where=self.where, label=self.label, score=round(self.score, 4), refused=self.refused)
        return facts | _facts(action=self.action)


@dataclass(frozen=True, slots=True)
class ScreenDecision:
    """scores: each label's highest in the prompt, 0..1. flagged: the label that blocks it."""

    scores: Mapping[str, float]
    flagged: str | None = None

    @property
    def trail(self) -> dict[str, Any]:
        return {label: float(round(score, 4)) for label, score in self.scores.items()}


@dataclass(frozen=True, slots=True)
class CacheDecision:
    """result: what the lookup came to; `explore` is a miss from which the cache learns. why: of a bypass or a miss.

    score: the two questions' cosine; judged: how sure the judge is that they ask the same, 0..1. risk: the bound of
    the share of wrong answers, 0..1, after so many tries.
    """

    result: Literal["exact", "hit", "explore", "miss", "bypass"]
    why: str | None = None
    score: float | None = None
    judged: float | None = None
    risk: float | None = None
    tries: int | None = None

    @property
    def trail(self) -> dict[str, Any]:
        numbers = {"score": self.score, "judged": self.judged, "risk": self.risk}
        rounded = {name: None if number is None else round(number, 4) for name, number in numbers.items()}
        return _facts(result=self.result, why=self.why, **rounded, tries=self.tries)


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """tier, pools: what will answer, in the order in which they are tried. Of an `auto` call also why.

    score: the prompt's complexity, 0..1; threshold: the least that its tier is for; by: what asked for the tier.
    drift: how far the tiers' shares have strayed. denied: the limit that every tier was at.
    """

    tier: str | None = None
    pools: tuple[str, ...] = ()
    score: float | None = None
    threshold: float | None = None
    by: str | None = None
    drift: float = 0.0
    denied: str | None = None

    @property
    def trail(self) -> dict[str, Any]:
        score = None if self.score is None else round(self.score, 4)
        why = _facts(score=score, threshold=self.threshold, by=self.by, drift=round(self.drift, 4) or None)
        return why | _facts(denied=self.denied, tier=self.tier, pools=list(self.pools) or None)


@dataclass(frozen=True, slots=True)
class GenerateDecision:
    """pool: who answers. attempts: pools asked until the first Token. recovered: engines lost after it.

    poison: True of a request that lost engines before, and is given to no other.
    """

    pool: str | None
    attempts: int
    recovered: int | None = None
    poison: bool | None = None

    @property
    def trail(self) -> dict[str, Any]:
        return _facts(pool=self.pool, attempts=self.attempts, recovered=self.recovered, poison=self.poison)


@dataclass(frozen=True, slots=True)
class ModerateDecision:
    """scores: each label's highest so far in the answer, 0..1. stopped: the label that ended one."""

    scores: Mapping[str, float] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def trail(self) -> dict[str, Any]:
        return {**self.scores, **_facts(stopped=self.stopped)}


@dataclass(frozen=True, slots=True)
class LeakDecision:
    """action: what a run of the instructions in the answer did to it."""

    action: Action

    @property
    def trail(self) -> dict[str, Any]:
        return _facts(action=self.action)


@dataclass(frozen=True, slots=True)
class RememberDecision:
    """stored: whether the answer reached the cache."""

    stored: bool

    @property
    def trail(self) -> dict[str, Any]:
        return _facts(stored=self.stored)


@dataclass(frozen=True, slots=True)
class RestoreDecision:
    """unknown: placeholders in the answer that nobody gave out: the model made them up, and they were not shown."""

    unknown: int

    @property
    def trail(self) -> dict[str, Any]:
        return _facts(unknown=self.unknown)


@dataclass(frozen=True, slots=True)
class ConsultDecision:
    """texts: how many were judged."""

    texts: int

    @property
    def trail(self) -> dict[str, Any]:
        return _facts(texts=self.texts)


@dataclass(slots=True)
class Decisions:
    """A call's decisions so far, in the order of the default stages; None: the stage decided nothing, or not yet.

    others: of stages that have no field here, by name; a stage may read its own alone.
    """

    admit: AdmitDecision | None = None
    scrub: ScrubDecision | None = None
    guard: GuardDecision | None = None
    screen: ScreenDecision | None = None
    recall: CacheDecision | None = None
    route: RouteDecision | None = None
    generate: GenerateDecision | None = None
    moderate: ModerateDecision | None = None
    leak: LeakDecision | None = None
    remember: RememberDecision | None = None
    restore: RestoreDecision | None = None
    embed: ConsultDecision | None = None
    classify: ConsultDecision | None = None
    others: dict[str, Decision] = field(default_factory=dict)

    @property
    def trail(self) -> dict[str, dict[str, Any]]:
        """What the audit record keeps, by stage."""
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "others"}
        return {name: made.trail for name, made in {**named, **self.others}.items() if made is not None}
