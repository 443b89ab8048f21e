"""Check a batch's input line by line as it streams by.  blobs -> [check] -> sql (its lines, or what is wrong)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from typing import Any
from unicodedata import category

import orjson

from app.batches.model import Entry, Problem
from app.batches.scheduling import MESSAGES
from app.core.loose_json import loads

LONGEST = 8_000_000
"""Bytes of one line."""
MOST = 100
"""Problems that are told; reading ends there."""
LONGEST_ID = 512


class Splitter:
    """Bytes to lines, holding one line at most."""

    def __init__(self) -> None:
        self._rest = b""
        self._at = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Each line that has ended: where it starts in the file, and itself without its end."""
        *whole, rest = (self._rest + data).split(b"\n") if b"\n" in data else (self._rest + data,)
        for line in whole:
            yield self._at, line
            self._at += len(line) + 1
        self._rest = rest

    def last(self) -> tuple[int, bytes]:
        """What stands behind the last line's end."""
        return self._at, self._rest

    @property
    def held(self) -> int:
        """Bytes of the line that has not ended."""
        return len(self._rest)


class Checker:
    """endpoint: the batch's. models: names that `body.model` may be. max_lines: of the batch.

    After `take` of every line, and `end`: `entries` (taken out by the caller as they come) and `problems`.
    """

    def __init__(self, endpoint: str, models: Collection[str], max_lines: int) -> None:
        self.entries: list[Entry] = []
        self.problems: list[Problem] = []
        self.total = 0
        self._endpoint = endpoint
        self._models = frozenset(models)
        self._max_lines = max_lines
        self._number = 0
        self._seen: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether it is of no use to read on."""
        return len(self.problems) >= MOST or self.total > self._max_lines

    def take(self, start: int, line: bytes) -> None:
        """The next line of the file; an empty one does not count."""
        self._number += 1
        if not line.strip():
            return
        self.total += 1
        found = self._read(line)
        if isinstance(found, Problem):
            self.problems.append(found)
        else:
            self._seen.add(found)
            self.entries.append(Entry(self._number, found, start, len(line)))

    def too_long(self) -> None:
        """The line that is being read passes LONGEST."""
        self._number += 1
        self.problems.append(self._problem("line_too_long", f"The line has more than {LONGEST:,} bytes."))

    def missing(self) -> None:
        """The file is gone."""
        self.problems.append(Problem("input_file_gone", "The input file is gone."))

    def end(self) -> None:
        """The file has ended."""
        if self.total > self._max_lines:
            said = f"The file has more than the {self._max_lines:,} lines that a batch may have."
            self.problems.append(Problem("too_many_tasks", said))
        elif not self.total and not self.problems:
            self.problems.append(Problem("empty_file", "The input file has no lines."))

    def _read(self, line: bytes) -> str | Problem:
        """The line's custom_id, or what is wrong with it."""
        if len(line) > LONGEST:
            return self._problem("line_too_long", f"The line has more than {LONGEST:,} bytes.")
        try:
            task = loads(line)
        except orjson.JSONDecodeError as error:
            return self._problem("invalid_json_line", f"The line is not valid JSON: {error.msg}.")
        if not isinstance(task, dict):
            return self._problem("invalid_json_line", "The line must be a JSON object.")
        return self._envelope(task) or self._body(task.get("body")) or str(task["custom_id"])

    def _envelope(self, task: dict[str, Any]) -> Problem | None:
        name = task.get("custom_id")
        if name is None:
            return self._problem("missing_required_parameter", "Missing required parameter: 'custom_id'.", "custom_id")
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ID or any(map(_breaks_lines, name)):
            said = f"'custom_id' must be a string of 1 to {LONGEST_ID} characters, none of them a control character."
            return self._problem("invalid_custom_id", said, "custom_id")
        if name in self._seen:
            said = f"The custom_id '{name}' was used by another line of this file."
            return self._problem("duplicate_custom_id", said, "custom_id")
        method = task.get("method")
        if not isinstance(method, str) or method.upper() != "POST":
            return self._problem("invalid_method", "'method' must be 'POST'.", "method")
        if task.get("url") != self._endpoint:
            said = f"'url' must be the batch's endpoint, '{self._endpoint}'."
            return self._problem("mismatched_endpoint", said, "url")
        return None

    def _body(self, body: Any) -> Problem | None:
        if not isinstance(body, dict):
            return self._problem("missing_required_parameter", "'body' must be a JSON object.", "body")
        if self._endpoint == MESSAGES:  # there a bad request fails by itself, and not its batch
            return None
        if body.get("stream"):
            return self._problem("stream_not_supported", "A batch cannot stream: leave `stream` out.", "body.stream")
        model = body.get("model")
        if not self._known(model):
            known = ", ".join(sorted(self._models))
            return self._problem(
                "model_not_found", f"The model `{str(model)[:100]}` does not exist. Choose from: {known}.", "body.model"
            )
        return None

    def _known(self, model: Any) -> bool:
        """Whether a line may name this model: by its name, or by an alias, which may be a pattern."""
        if not isinstance(model, str):
            return model is None
        return model in self._models or any(fnmatchcase(model, one) for one in self._models if "*" in one)

    def _problem(self, code: str, message: str, param: str | None = None) -> Problem:
        return Problem(code, message, param, self._number)


def _breaks_lines(char: str) -> bool:
    """Whether a character would end a line, or is another control character."""
    return category(char) in ("Cc", "Zl", "Zp")
