"""Read rows of data folders: JSON lines, told apart by their fields, whatever the file is called.

FOLDER/*.jsonl -> [rows] -> evals/JUDGE.py. evals/README.md describes every format for those who bring data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

FORMATS: dict[str, tuple[tuple[str, ...], ...]] = {
    "toxicity": (("text", "toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"),),
    "injection": (("text", "attack"),),
    "personal": (("text", "spans"),),
    "complexity": (("prompt", "source", "weak_correct", "strong_correct"), ("prompt", "kind")),
    "same": (("a", "b", "duplicate"),),
}
"""Judge -> the fields of each kind of row it measures on. A row may have more."""

MARKS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate", "attack", "duplicate")


class BadRowError(Exception):
    """A row cannot be used. The message names the file, the line and what is wrong."""


def rows(folder: Path, *fields: str) -> Iterator[Row]:
    """Every row of the *.jsonl in `folder` (or of one such file) that has all these fields, checked.

    Raises BadRowError: not JSON, not an object, or one of these fields of a wrong type.
    """
    for path in files(folder):
        for number, row in _lines(path):
            if all(name in row for name in fields):
                for name in fields:
                    _check(row, name, path, number)
                yield row


def survey(folder: Path) -> tuple[dict[str, int], int]:
    """How many rows each judge has in the folder, and how many rows are of no judge. Checks every row.

    Raises BadRowError.
    """
    found, strange = dict.fromkeys(FORMATS, 0), 0
    for path in files(folder):
        for number, row in _lines(path):
            judges = [judge for judge, formats in FORMATS.items() if _fits(row, formats, path, number)]
            for judge in judges:
                found[judge] += 1
            strange += not judges
    return found, strange


def _fits(row: Row, formats: tuple[tuple[str, ...], ...], path: Path, number: int) -> bool:
    for fields in formats:
        if all(name in row for name in fields):
            for name in fields:
                _check(row, name, path, number)
            return True
    return False


def files(folder: Path) -> list[Path]:
    """The *.jsonl of a folder, or the one file that was named, in order."""
    return [folder] if folder.is_file() else sorted(folder.glob("*.jsonl"))


def _lines(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                message = f"{path}:{number}: not JSON ({error}): write one JSON object a line"
                raise BadRowError(message) from error
            if not isinstance(row, dict):
                message = f"{path}:{number}: {type(row).__name__}, not an object: write one JSON object a line"
                raise BadRowError(message)
            yield number, row


def _check(row: Row, name: str, path: Path, number: int) -> None:
    value = row[name]
    if name in MARKS:
        right, wanted = value in (0, 1), "0 or 1"
    elif name in {"weak_correct", "strong_correct"}:
        right, wanted = isinstance(value, bool), "true or false"
    elif name == "spans":
        right, wanted = (
            isinstance(value, list) and all(map(_span, value)),
            ("a list of {entity_type, start_position, end_position}"),
        )
    else:
        right, wanted = isinstance(value, str), "a string"
    if not right:
        message = f"{path}:{number}: `{name}` is {json.dumps(value)[:60]}, not {wanted}: correct the row"
        raise BadRowError(message)


def _span(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("entity_type"), str)
        and all(isinstance(value.get(key), int) for key in ("start_position", "end_position"))
    )
