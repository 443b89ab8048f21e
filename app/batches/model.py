"""What batches are made of: files, lines, orders and answers. Shared by routes, worker and SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core import owner

OPEN = ("validating", "in_progress", "finalizing", "cancelling")
"""Statuses of a batch that has not ended."""


@dataclass(frozen=True, slots=True)
class Owner(owner.Owner):
    """Whose files and batches they are: nobody else sees them. key_id: in whose name lines run."""

    key_id: str


@dataclass(frozen=True, slots=True)
class File:
    """An uploaded or written file. created, expires: Unix seconds. blob: its name in the file storage."""

    id: str
    filename: str
    purpose: str
    bytes: int
    blob: str
    created: float
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an input file. line: 1, 2 ...; None is the file as a whole."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as its owner sees it. moments: status -> when it was reached, Unix seconds."""

    id: str
    endpoint: str
    input_file: str
    status: str
    created: float
    expires: float
    moments: Mapping[str, float]
    meta: Mapping[str, str]
    errors: Sequence[Mapping[str, Any]] = ()
    output_file: str | None = None
    error_file: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One good line of an input file: where it stands in its blob, in bytes."""

    number: int
    custom_id: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Job:
    """A batch to read (`validating`) or to write out (ending: completed, expired, cancelled)."""

    id: str
    owner: Owner
    endpoint: str
    blob: str
    ending: str | None
    output_lives: int | None


@dataclass(frozen=True, slots=True)
class InputLine:
    """A line that a worker has taken. expires: when its batch does, Unix seconds."""

    batch: str
    number: int
    attempt: int
    start: int
    size: int
    blob: str
    endpoint: str
    key_id: str
    expires: float


@dataclass(frozen=True, slots=True)
class Result:
    """A line as it ended. body: JSON; of a line that was never answered, its error `{code, message}`."""

    number: int
    custom_id: str
    state: str  # answered | failed | waiting
    status_code: int | None
    request_id: str | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Order:
    """One line for a gateway to run. serial: as rules.batches. body: the request's JSON."""

    serial: str
    key_id: str
    endpoint: str
    body: bytes


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """What the route answered. body: JSON. retry_after: seconds, where the route named them."""

    status: int
    request_id: str
    body: bytes
    retry_after: float | None = None
    useless: bool = False  # the route said that the same will never pass


@dataclass(frozen=True, slots=True)
class State:
    """A gateway now: how many lines one worker may have on their way, and which models a line may name."""

    free_slots: int
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_lines: int = 50_000
