"""The order of the rooms: which may be left out, which need each other, which must come before which, and why."""

from __future__ import annotations

from collections.abc import Iterator

from app.config.base import ConfigError, choose

ROOMS = ("admit", "scrub", "guard", "recall", "route", "generate", "moderate", "remember", "restore", "settle")
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


def check_order(rooms: list[str]) -> None:
    """Refuse an order that breaks a rule, naming the rule. Raises ConfigError."""
    fault = next(_faults(rooms), None)
    if fault is not None:
        raise fault


def _faults(rooms: list[str]) -> Iterator[ConfigError]:
    yield from (choose("rooms", room, ROOMS) for room in rooms if room not in ROOMS)
    yield from (ConfigError(f"rooms: `{room}` stands twice") for room in rooms if rooms.count(room) > 1)
    for room, why in REQUIRED.items():
        if room not in rooms:
            yield ConfigError(f"rooms: `{room}` cannot be left out: {why}")
    for room, (other, why) in PAIRS.items():
        if room in rooms and other not in rooms:
            yield ConfigError(f"rooms: `{room}` needs `{other}`, {why}")
    if rooms[0] != "admit" or rooms[-1] != "settle":
        yield ConfigError("rooms: `admit` is the first and `settle` the last: what is between is reserved, then billed")
    for first, then, why in BEFORE:
        if first in rooms and then in rooms and rooms.index(first) > rooms.index(then):
            yield ConfigError(f"rooms: `{first}` must stand before `{then}`: {why}")
