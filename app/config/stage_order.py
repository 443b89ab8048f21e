"""The order of the stages: which may be left out, which need each other, which must come before which, and why."""

from __future__ import annotations

from collections.abc import Iterator

from app.config.base import ConfigError, choose

STAGES = ("admit", "scrub", "guard", "recall", "route", "generate", "moderate", "remember", "restore", "settle")
REQUIRED = {
    "admit": "every call has an owner and a limit",
    "route": "a prompt needs a pool",
    "generate": "somebody must answer",
    "settle": "every call is billed exactly once",
}
PAIRS = {
    "scrub": ("restore", "or the caller would read placeholders"),
    "restore": ("scrub", "or there is nothing to restore"),
    "recall": ("remember", "or the cache would stay empty"),
    "remember": ("recall", "or nobody would read what is stored"),
}
BEFORE = (
    ("scrub", "recall", "only placeholders are looked up"),
    ("scrub", "generate", "no personal data reaches an engine"),
    ("guard", "recall", "a refused prompt must not be answered from the cache"),
    ("guard", "generate", "a refused prompt must not reach an engine"),
    ("recall", "generate", "a hit must spare the engine"),
    ("route", "generate", "a prompt needs a pool"),
    ("generate", "moderate", "what is moderated must exist"),
    ("moderate", "remember", "only safe text is cached"),
    ("generate", "remember", "what is stored must exist"),
    ("remember", "restore", "only placeholders are cached"),
    ("moderate", "restore", "a placeholder must not be split by the moderator's window"),
    ("generate", "restore", "what is restored must exist"),
)


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
